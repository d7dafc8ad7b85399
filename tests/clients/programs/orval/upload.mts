// The client of orval at work; docs/clients/typescript.md shows it. Arguments: URL and API key.

import { readFile, writeFile } from "node:fs/promises";
import { deleteImage, describeImage, downloadImage, listImages, uploadImage } from "./imagegate-client.js";

function expect<T extends { status: number }, S extends number>(answer: T, status: S): Extract<T, { status: S }> {
  if (answer.status !== status) throw new Error(JSON.stringify(answer));
  return answer as Extract<T, { status: S }>;
}

const file = new File([await readFile("img.jpg")], "img.jpg");
const { data: uploaded } = expect(await uploadImage({ file, profile: "lossless" }), 201);

const { data: described } = expect(await describeImage(uploaded.id), 200);

const { data: downloaded } = expect(await downloadImage(uploaded.id), 200);
await writeFile("out.jpg", Buffer.from(await downloaded.arrayBuffer()));

const { data: first } = expect(await listImages({ limit: 1 }), 200);
const { data: second } = expect(await listImages({ limit: 1, cursor: first.next_cursor! }), 200);

const notes = new File([await readFile("notes.txt")], "notes.txt");
const { data: refused } = expect(await uploadImage({ file: notes }), 415);

expect(await deleteImage(uploaded.id), 204);
const { data: gone } = expect(await describeImage(uploaded.id), 410);

// For the tests.
console.log(JSON.stringify({
  image: described,
  pages: [...first.images, ...second.images].map((image) => image.id),
  refused: [refused.status, refused.code],
  gone: [gone.status, gone.code],
}));
