// The client of typescript-fetch at work; docs/clients/typescript.md shows it. Arguments: URL and API key.

import { readFile, writeFile } from "node:fs/promises";
import { setTimeout } from "node:timers/promises";
import { Configuration, ImagesApi, type Problem, ProblemFromJSON, ResponseError } from "./imagegate-client/index.js";

const [basePath, accessToken] = process.argv.slice(2);
const images = new ImagesApi(new Configuration({ basePath, accessToken }));

const fileOf = async (name: string) => new File([await readFile(name)], name);

async function uploadOnce(name: string, tries = 5) {
  const file = await fileOf(name);
  const idempotencyKey = crypto.randomUUID();
  for (let left = tries; ; left--) {
    try {
      return await images.uploadImage({ file, profile: "lossless", idempotencyKey });
    } catch (error) {
      const refusal = error instanceof ResponseError && ProblemFromJSON(await error.response.clone().json());
      if (left === 1 || (refusal && !refusal.retryable)) throw error;
      await setTimeout((tries - left) * 1000);
    }
  }
}

const uploaded = await uploadOnce("img.jpg");

const described = await images.describeImage({ imageId: uploaded.id });

const downloaded = await images.downloadImage({ imageId: uploaded.id });
await writeFile("out.jpg", Buffer.from(await downloaded.arrayBuffer()));

const first = await images.listImages({ limit: 1 });
const second = await images.listImages({ limit: 1, cursor: first.nextCursor! });

async function problemOf(call: Promise<unknown>): Promise<Problem> {
  const error: unknown = await call.then(() => new Error("it succeeded"), (error) => error);
  if (error instanceof ResponseError) return ProblemFromJSON(await error.response.json());
  throw error;
}

const refused = await problemOf(uploadOnce("notes.txt"));

await images.deleteImage({ imageId: uploaded.id });
const gone = await problemOf(images.describeImage({ imageId: uploaded.id }));

const files = [await fileOf("img.jpg"), await fileOf("notes.txt")];
const batch = await images.uploadBatch({ file: files, idempotencyKey: crypto.randomUUID() });
const stored = batch.results.flatMap((each) => ("image" in each ? [each.image] : []));

// For the tests.
import { BatchResultsToJSON, ImageToJSON } from "./imagegate-client/index.js";
const file = await fileOf("img.jpg");
const twice = ["m", "m"].map((letter) => images.uploadImage({ file, idempotencyKey: letter.repeat(32) }));
const again = (await Promise.all(twice)).map((image) => image.id);
console.log(JSON.stringify({
  image: ImageToJSON(described),
  pages: [...first.images, ...second.images].map((image) => image.id),
  refused: [refused.status, refused.code],
  gone: [gone.status, gone.code],
  batch: BatchResultsToJSON(batch).results,
  stored: stored.map((image) => image.id),
  again,
}));
