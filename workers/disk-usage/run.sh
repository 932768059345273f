#!/usr/bin/env bash
# Report the disk usage of the run's own folder and of the filesystems it is on.
#
# Uses `du`, and `df` and `sort` where they are there; needs neither jq nor
# /proc (so no `<(...)`, which opens /dev/fd). File names may hold anything, so they never pass through a pipe and are
# written through `json_string` and `csv_field` only.
set -u
shopt -s dotglob globstar nullglob

readonly MAX_ENTRIES=2000
readonly USAGE=out/usage.csv FILESYSTEMS=out/filesystems.csv

# code_point CHARACTER: set REPLY to its number; U+FFFD for a byte that is not
# UTF-8, which `%q` shows as one octal escape. Such a byte must not reach `%d`:
# bash then misreads the characters after it.
code_point() {
  local quoted
  printf -v quoted '%q' "$1"
  if [[ $quoted == "$'"\\[2-3][0-7][0-7]"'" ]]; then
    REPLY=65533
    return
  fi
  printf -v REPLY '%d' "'$1"
  if (((REPLY >= 0xD800 && REPLY <= 0xDFFF) || REPLY > 0x10FFFF)); then REPLY=65533; fi
}

# json_string TEXT: set REPLY to a JSON string, in ASCII.
json_string() {
  local text=$1 escaped='' character number i
  for ((i = 0; i < ${#text}; i++)); do
    character=${text:i:1}
    code_point "$character"
    number=$REPLY
    if ((number == 34 || number == 92)); then
      character="\\$character"
    elif ((number >= 0x10000)); then
      ((number -= 0x10000))
      printf -v character '\\u%04x\\u%04x' $((0xD800 + (number >> 10))) $((0xDC00 + (number & 1023)))
    elif ((number < 32 || number > 126)); then
      printf -v character '\\u%04x' "$number"
    fi
    escaped+=$character
  done
  REPLY="\"$escaped\""
}

# csv_field TEXT: set REPLY to a quoted CSV field; control characters and stray bytes become `?`.
csv_field() {
  local text=$1 field='' character i
  for ((i = 0; i < ${#text}; i++)); do
    character=${text:i:1}
    code_point "$character"
    if ((REPLY < 32 || REPLY == 127 || REPLY == 65533)); then character='?'; fi
    if [[ $character == '"' ]]; then character='""'; fi
    field+=$character
  done
  if [[ $field == [=+@-]* ]]; then field="'$field"; fi
  REPLY="\"$field\""
}

# fail CODE MESSAGE DETAIL: end the run with an error result.
fail() {
  local message detail
  printf 'Stopped: %s\n' "$2" >&2
  json_string "$2" && message=$REPLY
  json_string "$3" && detail=$REPLY
  printf '{"status": "error", "error_code": "%s", "error": {"message": %s, "detail": %s}}\n' \
    "$1" "$message" "$detail" >result.json
  exit 0
}

# whole_number NAME FALLBACK: set REPLY to an input. All inputs of this worker
# are validated whole numbers, so no value can hold text that looks like another.
whole_number() {
  local pattern="\"$1\"[[:space:]]*:[[:space:]]*([0-9]{1,9})[^0-9.]"
  REPLY=$2
  if [[ $inputs =~ $pattern ]]; then REPLY=$((10#${BASH_REMATCH[1]})); fi
}

# size_kib PATH: set REPLY to the disk space of a file or folder, in KiB.
size_kib() {
  local answer
  answer=$(du -s -k -- "$1" 2>/dev/null)
  REPLY=${answer%%[!0-9]*}
  [[ -n $REPLY ]]
}

# list_entries: fill `names`, `kinds` and `sizes` with what is there, to a depth.
list_entries() {
  local entry slashes
  for entry in **; do
    slashes=${entry//[!\/]/}
    if [[ -f $entry && ! -L $entry ]]; then ((files += 1)); fi
    if ((${#slashes} >= depth)); then continue; fi
    if ((${#names[@]} >= MAX_ENTRIES)); then
      ((left_out += 1))
      continue
    fi
    add_entry "$entry"
  done
}

# add_entry PATH: record one entry; one that cannot be measured is counted.
add_entry() {
  local kind=file
  if [[ -L $1 ]]; then kind=link; elif [[ -d $1 ]]; then kind=folder; fi
  if ! size_kib "./$1"; then
    ((unreadable += 1))
    return
  fi
  names+=("$1")
  kinds+=("$kind")
  sizes+=("$REPLY")
}

# sort_entries: fill `order` with the entries' places, largest first; without
# `sort` they stay in order of name. Only figures pass through the pipe.
sort_entries() {
  local place
  order=("${!names[@]}")
  if ! command -v sort >/dev/null; then return; fi
  order=($(for place in "${order[@]}"; do
    printf '%s,%s\n' "${sizes[place]}" "$place"
  done | sort -t, -k1,1nr -k2,2n))
  order=("${order[@]#*,}")
}

# write_usage: write the table of entries.
write_usage() {
  local place written=0
  printf 'path,kind,kib\n'
  for place in "${order[@]}"; do
    if ((written >= top)); then break; fi
    csv_field "${names[place]}"
    printf '%s,%s,%s\n' "$REPLY" "${kinds[place]}" "${sizes[place]}"
    ((written += 1))
  done
}

# ask_df PATH: set `figures` to size, used, free in KiB and the share in use in percent.
ask_df() {
  local answer pattern='[[:space:]]([0-9]+)[[:space:]]+([0-9]+)[[:space:]]+([0-9]+)[[:space:]]+([0-9]+)%[[:space:]]'
  answer=$(df -P -k -- "$1" 2>/dev/null)
  if [[ ! ${answer#*$'\n'} =~ $pattern ]]; then return 1; fi
  figures=("${BASH_REMATCH[@]:1:4}")
}

# write_filesystems: write what `df` knows of each place, where it knows anything.
write_filesystems() {
  local place table=''
  for place in work:. "tmp:${TMPDIR:-}" root:/; do
    if [[ -z ${place#*:} ]] || ! ask_df "${place#*:}"; then continue; fi
    table+=$(printf '%s,%s,%s,%s,%s' "${place%%:*}" "${figures[@]}")$'\n'
    if [[ $place == work:. ]]; then
      free_kib=${figures[2]}
      used_percent=${figures[3]}
    fi
  done
  if [[ -n $free_kib ]]; then
    printf 'place,size_kib,used_kib,free_kib,used_percent\n%s' "$table" >"$FILESYSTEMS"
  fi
}

# write_result: write the outputs; figures that could not be had are left out.
write_result() {
  local outputs low=false
  outputs="\"usage\": \"$USAGE\", \"total_kib\": $total_kib, \"files\": $files"
  if [[ -n $free_kib ]]; then
    if ((used_percent >= warn_percent)); then low=true; fi
    outputs+=", \"filesystems\": \"$FILESYSTEMS\", \"free_kib\": $free_kib"
    outputs+=", \"used_percent\": $used_percent, \"low_space\": $low"
  fi
  if ((${#order[@]} > 0)); then
    json_string "${names[order[0]]}"
    outputs+=", \"largest\": $REPLY"
  fi
  printf '{"status": "success", "outputs": {%s}}\n' "$outputs" >result.json
}

inputs=$(<inputs.json)
whole_number depth 1 && depth=$REPLY
whole_number top 50 && top=$REPLY
whole_number warn_percent 90 && warn_percent=$REPLY
names=() kinds=() sizes=() order=() figures=()
files=0 left_out=0 unreadable=0 free_kib='' used_percent=''

if ! command -v du >/dev/null; then
  fail du_missing "The command du is not on this host's PATH." "Install coreutils, or another du."
fi
if ! size_kib .; then
  fail not_readable "The working directory cannot be measured." "du gave no figure for it."
fi
total_kib=$REPLY
list_entries
sort_entries
write_usage >"$USAGE"
if command -v df >/dev/null; then write_filesystems; fi
if [[ -z $free_kib ]]; then
  printf 'df gave no figures: filesystems are left out\n' >&2
fi
if ((left_out + unreadable > 0)); then
  printf '%d entries were left out, %d could not be read\n' "$left_out" "$unreadable" >&2
fi
write_result
printf 'The folder takes %d KiB in %d files\n' "$total_kib" "$files"
