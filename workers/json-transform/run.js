'use strict';
/** Apply a list of operations to a JSON value; uses Node's standard library only. */

const fs = require('node:fs');
const { OperationError, apply, isObject } = require('./operations.js');

const MAX_OPERATIONS = 100;
const PREVIEW_ITEMS = 5;
const PREVIEW_CHARACTERS = 20_000;

function main() {
  const inputs = JSON.parse(fs.readFileSync('inputs.json', 'utf8'));
  try {
    warnAboutNumbers(inputs.data);
    finish({ status: 'success', outputs: write(transform(inputs.data, inputs.operations)) });
  } catch (error) {
    if (!(error instanceof OperationError)) throw error;
    console.error(`Stopped: ${error.message}`);
    const report = { message: error.message, detail: error.detail ?? '' };
    finish({ status: 'error', error: report, error_code: 'invalid_operation' });
  }
}

function finish(result) {
  fs.writeFileSync('result.json', JSON.stringify(result));
}

/** Apply each operation in turn; an error names the operation's index, from 0. */
function transform(data, operations) {
  if (!Array.isArray(operations)) throw new OperationError('operations must be a list');
  if (operations.length > MAX_OPERATIONS) {
    throw new OperationError(`operations holds more than ${MAX_OPERATIONS} entries`);
  }
  return operations.reduce((value, operation, index) => step(value, operation, index), data);
}

function step(value, operation, index) {
  const name = isObject(operation) && typeof operation.op === 'string' ? ` (${operation.op.slice(0, 40)})` : '';
  try {
    const next = apply(operation, value);
    console.log(`operations[${index}]${name}: ${size(value)} -> ${size(next)}`);
    return next;
  } catch (error) {
    if (!(error instanceof OperationError)) throw error;
    const located = new OperationError(`operations[${index}]${name}: ${error.message}`);
    located.detail = JSON.stringify(operation).slice(0, 500);
    throw located;
  }
}

function size(value) {
  return Array.isArray(value) ? `${value.length} items` : 'one value';
}

/** Write the file and return the outputs; the preview is left out when it is large. */
function write(value) {
  fs.writeFileSync('out/result.json', `${JSON.stringify(value, null, 2)}\n`);
  const outputs = { result: 'out/result.json', count: Array.isArray(value) ? value.length : 1 };
  const preview = Array.isArray(value) ? value.slice(0, PREVIEW_ITEMS) : value;
  if (JSON.stringify(preview).length <= PREVIEW_CHARACTERS) outputs.preview = preview;
  return outputs;
}

/** JSON numbers become doubles here: say so where one cannot be kept exactly. */
function warnAboutNumbers(data) {
  const pending = [data];
  let inexact = 0;
  while (pending.length) {
    const value = pending.pop();
    if (typeof value === 'number') {
      if (!Number.isFinite(value)) throw new OperationError('data holds a number that is out of range');
      if (Number.isInteger(value) && !Number.isSafeInteger(value)) inexact += 1;
    } else if (value !== null && typeof value === 'object') {
      for (const item of Object.values(value)) pending.push(item);
    }
  }
  if (inexact) console.error(`${inexact} integers are beyond 2^53 and may have lost digits`);
}

main();
