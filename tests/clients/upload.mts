// The generated TypeScript client at work; docs/clients.md shows it. Arguments: URL and API key.

import { readFile, writeFile } from "node:fs/promises";
import { setTimeout } from "node:timers/promises";
import { Configuration, ImagesApi, ProblemFromJSON, ResponseError } from "./imagegate-client/index.js";

const [basePath, accessToken] = process.argv.slice(2);
const images = new ImagesApi(new Configuration({ basePath, accessToken }));

const fileOf = async (name: string) => new File([await readFile(name)], name);

async function uploadOnce(name: string, tries = 5) {
  const file = await fileOf(name);
  const idempotencyKey = crypto.randomUUID();
  for (let left = tries; ; left--) {
    try {
      return await images.uploadImage({ file, idempotencyKey });
    } catch (error) {
      const refusal = error instanceof ResponseError && ProblemFromJSON(await error.response.clone().json());
      if (left === 1 || (refusal && !refusal.retryable)) throw error;
      await setTimeout((tries - left) * 1000);
    }
  }
}

const uploaded = await uploadOnce("img.jpg");

const downloaded = await images.downloadImage({ imageId: uploaded.id });
await writeFile("out.jpg", Buffer.from(await downloaded.arrayBuffer()));

const page = await images.listImages({ limit: 10 });

const problem = await uploadOnce("broken.jpg").catch(async (error: unknown) => {
  if (error instanceof ResponseError) return ProblemFromJSON(await error.response.json());
  throw error;
});

const files = [await fileOf("img.jpg"), await fileOf("broken.jpg")];
const batch = await images.uploadBatch({ file: files, idempotencyKey: crypto.randomUUID() });
const stored = batch.results.flatMap((each) => ("image" in each ? [each.image] : []));

// For the tests.
import { BatchResultsToJSON, ImageToJSON } from "./imagegate-client/index.js";
const file = await fileOf("img.jpg");
const twice = ["m", "m"].map((letter) => images.uploadImage({ file, idempotencyKey: letter.repeat(32) }));
const again = (await Promise.all(twice)).map((image) => image.id);
const listed = page.images.map((image) => image.id);
const { results } = BatchResultsToJSON(batch);
const ids = stored.map((image) => image.id);
const called = { uploaded: ImageToJSON(uploaded), listed, problem, batch: results, stored: ids, again };
console.log(JSON.stringify(called));
