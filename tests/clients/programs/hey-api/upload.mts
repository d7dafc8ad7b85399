// The client of @hey-api/openapi-ts at work; docs/clients/typescript.md shows it. Arguments: URL and API key.

import { readFile, writeFile } from "node:fs/promises";
import { client } from "./imagegate-client/client.gen.js";
import { deleteImage, describeImage, downloadImage, listImages, uploadImage } from "./imagegate-client/index.js";

const [baseUrl, key] = process.argv.slice(2);
client.setConfig({ baseUrl, auth: ({ scheme }) => (scheme === "bearer" ? key : undefined) });

const file = new File([await readFile("img.jpg")], "img.jpg");
const { data: uploaded } = await uploadImage({ body: { file, profile: "lossless" }, throwOnError: true });

const path = { image_id: uploaded.id };
const { data: described } = await describeImage({ path, throwOnError: true });

const { data: downloaded } = await downloadImage({ path, parseAs: "blob", throwOnError: true });
await writeFile("out.jpg", Buffer.from(await downloaded.arrayBuffer()));

const { data: first } = await listImages({ query: { limit: 1 }, throwOnError: true });
const cursor = first.next_cursor!;
const { data: second } = await listImages({ query: { limit: 1, cursor }, throwOnError: true });

const notes = new File([await readFile("notes.txt")], "notes.txt");
const { error: refused } = await uploadImage({ body: { file: notes } });

await deleteImage({ path, throwOnError: true });
const { error: gone } = await describeImage({ path });

// For the tests.
console.log(JSON.stringify({
  image: described,
  pages: [...first.images, ...second.images].map((image) => image.id),
  refused: [refused?.status, refused?.code],
  gone: [gone?.status, gone?.code],
}));
