// Validates an AsyncAPI document and the schemas that it refers to: node asyncapi.mjs FILE. Each
// error and warning is printed and makes the exit status 1; remarks, such as on a newer version of
// AsyncAPI, do not.
import { resolve } from 'node:path';
import parser from '@asyncapi/parser/cjs/index.js';

const { Parser, fromFile } = parser;
// By severity, from 0.
const KINDS = ['error', 'warning'];

const file = resolve(process.argv[2]);
const { document, diagnostics } = await fromFile(new Parser(), file).parse();
const found = diagnostics.filter(({ severity }) => severity < KINDS.length);
for (const { severity, code, message, path, source, range } of found) {
  const place = `${source ?? file}:${range.start.line + 1}`;
  console.error(`${place}: ${KINDS[severity]} ${code}: ${message} (${path.join('.')})`);
}
if (found.length > 0 || document === undefined) {
  process.exit(1);
}
console.log(`${process.argv[2]}: valid`);
