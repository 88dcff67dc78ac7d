// URLs that are relative to the page, where there is one.

export function absolute(url: string | URL, base = typeof location === "object" ? location.href : undefined): URL {
  return new URL(url, base);
}
