// Writes imagegate.ts; the command of openapi-typescript would make every file a string.

import { writeFile } from "node:fs/promises";
import openapiTS, { astToString } from "openapi-typescript";
import ts from "typescript";

const blob = ts.factory.createTypeReferenceNode("Blob");
const document = new URL("openapi.json", import.meta.url);
const types = await openapiTS(document, {
  transform: (schema) => (schema.format === "binary" ? blob : undefined),
});
await writeFile("imagegate.ts", astToString(types));
