'use strict';
/**
 * The operations: each takes the value so far and its own settings, and returns
 * the next value. Objects that they make have no prototype, so that a field
 * called `__proto__` is a field like any other.
 */

const MAX_DEPTH = 200;
const MAX_ITEMS = 1_000_000;

/** A setting or a value that an operation cannot work with. */
class OperationError extends Error {}

const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);
const emptyObject = () => Object.create(null);

/** Return the value at a dotted path; a field with that very name comes first. */
function read(item, path) {
  if (isObject(item) && Object.hasOwn(item, path)) return item[path];
  let value = item;
  for (const step of path.split('.')) {
    if (value === null || typeof value !== 'object' || !Object.hasOwn(value, step)) return undefined;
    value = value[step];
  }
  return value;
}

/** Return a setting that must be a list of names; one name may stand alone. */
function names(settings, key) {
  const value = typeof settings[key] === 'string' ? [settings[key]] : settings[key];
  const valid = Array.isArray(value) && value.length > 0 && value.every((name) => typeof name === 'string');
  if (!valid) throw new OperationError(`"${key}" must be a field name or a list of field names`);
  return value;
}

/** Return a setting that must be a non-negative integer. */
function count(settings, key, fallback) {
  const value = settings[key] ?? fallback;
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new OperationError(`"${key}" must be a whole number, 0 or more`);
  }
  return value;
}

/** Return a setting that must be one of the words given. */
function choice(settings, key, allowed, fallback) {
  const value = settings[key] ?? fallback;
  if (!allowed.includes(value)) throw new OperationError(`"${key}" must be one of ${allowed.join(', ')}`);
  return value;
}

/** Return a setting that must map names to names. */
function nameMap(settings, key) {
  const value = settings[key];
  if (!isObject(value) || !Object.values(value).every((name) => typeof name === 'string')) {
    throw new OperationError(`"${key}" must map names to names, for example {"old": "new"}`);
  }
  return Object.entries(value);
}

/** Apply a function to each item of a list, or to a single object. */
function eachObject(value, change) {
  const apply = (item, index) => {
    if (!isObject(item)) throw new OperationError(`item ${index} is ${describe(item)}, not an object`);
    return change(item);
  };
  return Array.isArray(value) ? value.map(apply) : apply(value, 0);
}

function list(value) {
  if (!Array.isArray(value)) throw new OperationError(`needs a list, but the value is ${describe(value)}`);
  return value;
}

function describe(value) {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  return isObject(value) ? 'an object' : `a ${typeof value}`;
}

/** Order any two JSON values: numbers, strings, booleans, the rest; absent last. */
function compare(left, right) {
  const rank = (value) => ['number', 'string', 'boolean'].indexOf(typeof value);
  const rest = (value) => (value === undefined || value === null ? 4 : rank(value) < 0 ? 3 : rank(value));
  if (rest(left) !== rest(right)) return rest(left) - rest(right);
  return left < right ? -1 : left > right ? 1 : 0;
}

/** Return text that is the same for equal JSON values, whatever their key order. */
function identity(value, depth = 0) {
  if (depth > MAX_DEPTH) throw new OperationError(`the value is nested deeper than ${MAX_DEPTH} levels`);
  if (Array.isArray(value)) return `[${value.map((item) => identity(item, depth + 1)).join(',')}]`;
  if (!isObject(value)) return JSON.stringify(value) ?? 'absent';
  const parts = Object.keys(value)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${identity(value[key], depth + 1)}`);
  return `{${parts.join(',')}}`;
}

const equal = (left, right) => identity(left) === identity(right);
const ordered = (test) => (left, right) =>
  typeof left === typeof right && ['number', 'string'].includes(typeof left) && test(compare(left, right));

const TESTS = {
  eq: equal,
  ne: (left, right) => !equal(left, right),
  lt: ordered((order) => order < 0),
  lte: ordered((order) => order <= 0),
  gt: ordered((order) => order > 0),
  gte: ordered((order) => order >= 0),
  contains: (left, right) =>
    typeof left === 'string'
      ? typeof right === 'string' && left.includes(right)
      : Array.isArray(left) && left.some((item) => equal(item, right)),
  in: (left, right) => right.some((item) => equal(left, item)),
  exists: (left, right) => (left !== undefined && left !== null) === (right ?? true),
};

function get(value, settings) {
  const [path] = names(settings, 'path');
  const found = read(value, path);
  if (found === undefined) throw new OperationError(`there is nothing at "${path}"`);
  return found;
}

function pick(value, settings) {
  const fields = names(settings, 'fields');
  return eachObject(value, (item) => {
    const picked = emptyObject();
    for (const field of fields) {
      const found = read(item, field);
      if (found !== undefined) picked[field] = found;
    }
    return picked;
  });
}

function omit(value, settings) {
  const fields = new Set(names(settings, 'fields'));
  return eachObject(value, (item) => copy(item, (key) => (fields.has(key) ? null : key)));
}

function rename(value, settings) {
  const renamed = new Map(nameMap(settings, 'fields'));
  return eachObject(value, (item) => copy(item, (key) => renamed.get(key) ?? key));
}

/** Copy an object under new key names; null leaves a key out. */
function copy(item, rekey) {
  const result = emptyObject();
  for (const [key, value] of Object.entries(item)) {
    const name = rekey(key);
    if (name === null) continue;
    if (name in result) throw new OperationError(`two fields of an item would be called "${name}"`);
    result[name] = value;
  }
  return result;
}

function filter(value, settings) {
  const [field] = names(settings, 'field');
  const is = choice(settings, 'is', Object.keys(TESTS), 'eq');
  if (is === 'in' && !Array.isArray(settings.value)) throw new OperationError('"value" must be a list for "in"');
  if (is !== 'exists' && settings.value === undefined) throw new OperationError('"value" is missing');
  return list(value).filter((item) => TESTS[is](read(item, field), settings.value));
}

function sort(value, settings) {
  const fields = names(settings, 'by');
  const sign = choice(settings, 'order', ['ascending', 'descending'], 'ascending') === 'ascending' ? 1 : -1;
  const missing = (item) => item === undefined || item === null;
  return [...list(value)].sort((left, right) => {
    for (const field of fields) {
      const [a, b] = [read(left, field), read(right, field)];
      const order = compare(a, b);
      if (order !== 0) return missing(a) || missing(b) ? order : sign * order;
    }
    return 0;
  });
}

function limit(value, settings) {
  const start = count(settings, 'skip', 0);
  return list(value).slice(start, start + count(settings, 'count'));
}

function unique(value, settings) {
  const fields = settings.by === undefined ? null : names(settings, 'by');
  const seen = new Set();
  return list(value).filter((item) => {
    const key = identity(fields ? fields.map((field) => read(item, field)) : item);
    return !seen.has(key) && Boolean(seen.add(key));
  });
}

function flatten(value, settings) {
  const separator = settings.separator ?? '.';
  if (typeof separator !== 'string') throw new OperationError('"separator" must be text');
  return eachObject(value, (item) => {
    const flat = emptyObject();
    spread(item, '', separator, flat, 0);
    return flat;
  });
}

function spread(node, prefix, separator, flat, depth) {
  if (depth > MAX_DEPTH) throw new OperationError(`the value is nested deeper than ${MAX_DEPTH} levels`);
  for (const [key, value] of Object.entries(node)) {
    const name = prefix + key;
    const nested = value !== null && typeof value === 'object' && Object.keys(value).length > 0;
    if (nested) spread(value, name + separator, separator, flat, depth + 1);
    else if (name in flat) throw new OperationError(`two fields of an item would be called "${name}"`);
    else flat[name] = value;
  }
}

function explode(value, settings) {
  const [field] = names(settings, 'field');
  const rows = [];
  for (const item of list(value)) {
    if (!isObject(item)) throw new OperationError(`the list holds ${describe(item)}, not an object`);
    const parts = Array.isArray(item[field]) ? item[field] : [item[field]];
    if (rows.length + parts.length > MAX_ITEMS) throw new OperationError(`gives more than ${MAX_ITEMS} items`);
    for (const part of parts) {
      const row = copy(item, (key) => key);
      if (part !== undefined) row[field] = part;
      rows.push(row);
    }
  }
  return rows;
}

const AGGREGATES = {
  sum: (numbers) => numbers.reduce((total, number) => total + number, 0),
  average: (numbers) => (numbers.length ? AGGREGATES.sum(numbers) / numbers.length : null),
  min: (numbers) => (numbers.length ? numbers.reduce((a, b) => Math.min(a, b)) : null),
  max: (numbers) => (numbers.length ? numbers.reduce((a, b) => Math.max(a, b)) : null),
};

function group(value, settings) {
  const by = settings.by === undefined ? [] : names(settings, 'by');
  const wanted = Object.keys(AGGREGATES)
    .filter((kind) => settings[kind] !== undefined)
    .flatMap((kind) => names(settings, kind).map((field) => ({ kind, field })));
  const groups = new Map();
  for (const item of list(value)) {
    const key = identity(by.map((field) => read(item, field) ?? null));
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(item);
  }
  return [...groups.values()].map((items) => summarise(items, by, wanted));
}

function summarise(items, by, wanted) {
  const row = emptyObject();
  for (const field of by) row[field] = read(items[0], field) ?? null;
  row.count = items.length;
  for (const { kind, field } of wanted) {
    const numbers = items.map((item) => read(item, field)).filter((found) => typeof found === 'number');
    row[`${kind}_${field}`] = AGGREGATES[kind](numbers);
  }
  return row;
}

/** Operation name to its function and the settings it knows. */
const OPERATIONS = new Map([
  ['get', { run: get, settings: ['path'] }],
  ['pick', { run: pick, settings: ['fields'] }],
  ['omit', { run: omit, settings: ['fields'] }],
  ['rename', { run: rename, settings: ['fields'] }],
  ['filter', { run: filter, settings: ['field', 'is', 'value'] }],
  ['sort', { run: sort, settings: ['by', 'order'] }],
  ['limit', { run: limit, settings: ['count', 'skip'] }],
  ['unique', { run: unique, settings: ['by'] }],
  ['flatten', { run: flatten, settings: ['separator'] }],
  ['explode', { run: explode, settings: ['field'] }],
  ['group', { run: group, settings: ['by', ...Object.keys(AGGREGATES)] }],
  ['count', { run: (value) => list(value).length, settings: [] }],
]);

/** Check the operation's name and settings, then apply it. */
function apply(operation, value) {
  if (!isObject(operation)) throw new OperationError(`must be an object, but is ${describe(operation)}`);
  const known = OPERATIONS.get(operation.op);
  if (!known) throw new OperationError(`"op" must be one of ${[...OPERATIONS.keys()].join(', ')}`);
  const unknown = Object.keys(operation).find((key) => key !== 'op' && !known.settings.includes(key));
  if (unknown !== undefined) {
    const allowed = known.settings.length ? known.settings.join(', ') : 'no settings';
    throw new OperationError(`does not know "${unknown}"; it takes ${allowed}`);
  }
  return known.run(value, operation);
}

module.exports = { OperationError, apply, isObject };
