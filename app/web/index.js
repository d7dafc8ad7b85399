// The start page: uploads dropped, pasted or chosen files, and shows the last pictures live.
//
// The list is the truth: an event on the stream, or a stream that opens again, is only a signal to
// read the list. So nothing is missed or shown twice, whatever the network does.

const SHOWN = 24;
// A burst of uploads is read as one.
const PAUSE_MS = 250;
const KEPT_OUTCOMES = 5;

const form = document.getElementById("upload");
const input = document.getElementById("file");
const outcomes = document.getElementById("outcomes");
const pictures = document.getElementById("pictures");
const empty = document.getElementById("empty");
const live = document.getElementById("live");
const keyForm = document.getElementById("credential");
const keyInput = document.getElementById("key");

// ---- the key ------------------------------------------------------------------------------------

// In memory alone: it is gone with the page.
let key = "";

async function ask(path, options = {}) {
  const used = key;
  const headers = used ? { Authorization: `Bearer ${used}` } : {};
  const response = await fetch(path, { ...options, headers });
  // An answer to a request from before the key came says nothing of the key.
  if (response.status === 401 && used === key) {
    keyForm.hidden = false;
  }
  return response;
}

keyForm.addEventListener("submit", (event) => {
  event.preventDefault();
  key = keyInput.value.trim();
  keyForm.reset();
  keyForm.hidden = true;
  stream?.close();
  stream = null;
  follow();
  refresh();
});

// ---- uploads ------------------------------------------------------------------------------------

let queue = Promise.resolve();

function uploadAll(files) {
  for (const file of files) {
    const line = document.createElement("li");
    line.textContent = `${file.name}: waiting`;
    outcomes.prepend(line);
    queue = queue.then(() => upload(file, line));
  }
}

async function upload(file, line) {
  line.textContent = `${file.name}: uploading ${bytes(file.size)}`;
  const body = new FormData();
  body.append("file", file);
  try {
    const { receipt } = await readJson(await ask("images", { method: "POST", body }));
    const [received, stored] = [bytes(receipt.received_bytes), bytes(receipt.stored_bytes)];
    line.textContent = `${file.name}: stored, ${stored} of ${received}`;
    line.className = "stored";
  } catch (error) {
    line.textContent = `${file.name}: ${error.message}`;
    line.className = "failed";
  }
  for (const old of [...outcomes.querySelectorAll(".stored, .failed")].slice(KEPT_OUTCOMES)) {
    old.remove();
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  uploadAll(input.files);
  form.reset();
});

addEventListener("paste", (event) => uploadAll(event.clipboardData.files));

// The browser would open a file that misses the form in place of this page.
addEventListener("dragover", (event) => {
  event.preventDefault();
  form.classList.add("over");
});
addEventListener("dragleave", () => form.classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  form.classList.remove("over");
  uploadAll(event.dataTransfer.files);
});

// ---- the last pictures --------------------------------------------------------------------------

let reading = false;
let again = false;

async function refresh() {
  if (reading) {
    again = true;
    return;
  }
  reading = true;
  do {
    again = false;
    try {
      show((await readJson(await ask(`images?limit=${SHOWN}`))).images);
    } catch (error) {
      live.textContent = error.message;
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  } while (again);
  reading = false;
}

function show(images) {
  const shown = new Map([...pictures.children].map((item) => [item.dataset.id, item]));
  const wanted = new Set(images.map((image) => image.id));
  for (const [id, item] of shown) {
    if (!wanted.has(id)) {
      item.firstChild.dispatchEvent(new Event("removed"));
    }
  }
  pictures.replaceChildren(...images.map((image) => shown.get(image.id) ?? picture(image)));
  empty.hidden = images.length > 0;
}

function picture(image) {
  const item = document.createElement("li");
  const link = document.createElement("a");
  const shown = document.createElement("img");
  item.dataset.id = image.id;
  point(link, shown, `images/${image.id}`);
  shown.alt = image.filename ?? "";
  shown.loading = "lazy";
  shown.decoding = "async";
  link.append(
    shown,
    text("name", image.filename ?? image.id),
    text("size", `${image.width} × ${image.height}, ${bytes(image.content_length)}`),
  );
  item.append(link);
  return item;
}

// An <img> cannot send a key, so its bytes are read here.
async function point(link, shown, path) {
  if (!key) {
    link.href = shown.src = path;
    return;
  }
  const response = await ask(path);
  if (response.ok) {
    const address = URL.createObjectURL(await response.blob());
    link.href = shown.src = address;
    link.addEventListener("removed", () => URL.revokeObjectURL(address));
  }
}

function text(name, content) {
  const span = document.createElement("span");
  span.className = name;
  span.textContent = content;
  return span;
}

// A browser opens six connections to a server: hidden pages must not hold one each.
let stream = null;

function follow() {
  if (document.hidden) {
    stream?.close();
    stream = null;
  } else if (key) {
    stream ??= followWithKey();
  } else if (stream === null || stream.readyState === EventSource.CLOSED) {
    stream = new EventSource("streams/images");
    stream.addEventListener("image.stored", refresh);
    stream.addEventListener("image.deleted", refresh);
    stream.onopen = () => {
      live.textContent = "live";
      refresh();
    };
    stream.onerror = () => {
      live.textContent = "reconnecting …";
      // Another answer than a stream ended it, and only the list says which.
      if (stream?.readyState === EventSource.CLOSED) {
        refresh();
      }
    };
  }
}

// An EventSource cannot send a key. An event is only a signal here, so its text is not parsed.
function followWithKey() {
  const controller = new AbortController();
  const own = { close: () => controller.abort() };
  const read = async () => {
    const response = await ask("streams/images", { signal: controller.signal });
    if (!response.ok) {
      await readJson(response);
    }
    live.textContent = "live";
    refresh();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      if (part.value.includes("event:")) {
        refresh();
      }
    }
  };
  read()
    .catch((error) => {
      live.textContent = error.message;
    })
    .finally(() => {
      if (stream === own) {
        stream = null;
      }
    });
  return own;
}

document.addEventListener("visibilitychange", follow);
// Another answer than a stream, as of a gateway that is not ready, closes an EventSource for good.
setInterval(follow, 5000);
follow();

// ---- answers ------------------------------------------------------------------------------------

// Returns the JSON of an answer, or throws an error with the detail of the problem (RFC 9457).
async function readJson(response) {
  // A proxy in between may answer in HTML.
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    throw new Error(answer.detail ?? `the server answered ${response.status}`);
  }
  return answer;
}

function bytes(count) {
  const [unit, size] = count < 1e6 ? ["kilobyte", 1e3] : ["megabyte", 1e6];
  return new Intl.NumberFormat("en", {
    style: "unit",
    unit,
    maximumSignificantDigits: 3,
  }).format(count / size);
}
