// openapi-fetch with the types of openapi-typescript; docs/clients/typescript.md shows it. Arguments: URL and API key.

import { readFile, writeFile } from "node:fs/promises";
import createClient from "openapi-fetch";
import type { components, paths } from "./imagegate.js";

const [baseUrl, key] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${key}` } });

// What a call is given as an object is sent as JSON unless a serializer makes a form of it.
type UploadForm = components["schemas"]["UploadForm"];
function upload(body: UploadForm) {
  const form = new FormData();
  for (const [name, value] of Object.entries(body)) form.append(name, value as Blob | string);
  return client.POST("/images", { body, bodySerializer: () => form });
}

const file = new File([await readFile("img.jpg")], "img.jpg");
const { data: uploaded } = await upload({ file, profile: "lossless" });

const params = { path: { image_id: uploaded!.id } };
const { data: described } = await client.GET("/images/{image_id}/metadata", { params });

// Without `parseAs` the bytes are read as JSON.
const { data: downloaded } = await client.GET("/images/{image_id}", { params, parseAs: "blob" });
await writeFile("out.jpg", Buffer.from(await downloaded!.arrayBuffer()));

const { data: first } = await client.GET("/images", { params: { query: { limit: 1 } } });
const cursor = first!.next_cursor!;
const { data: second } = await client.GET("/images", { params: { query: { limit: 1, cursor } } });

const notes = new File([await readFile("notes.txt")], "notes.txt");
const { error: refused } = await upload({ file: notes });

await client.DELETE("/images/{image_id}", { params });
const { error: gone } = await client.GET("/images/{image_id}/metadata", { params });

// For the tests.
console.log(JSON.stringify({
  image: described,
  pages: [...first!.images, ...second!.images].map((image) => image.id),
  refused: [refused!.status, refused!.code],
  gone: [gone!.status, gone!.code],
}));
