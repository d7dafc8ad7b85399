const [, , baseUrl, key] = process.argv;

export async function fetcher<T>(path: string, init: RequestInit): Promise<T> {
  const headers = new Headers(init.headers);
  headers.set("Authorization", `Bearer ${key}`);
  const response = await fetch(baseUrl + path, { ...init, headers });
  const isJson = /json/.test(response.headers.get("Content-Type") ?? "");
  const data = isJson ? await response.json() : await response.blob();
  return { data, status: response.status, headers: response.headers } as T;
}
