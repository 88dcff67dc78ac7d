// Where a stream or a routine is: a URL, which may be relative to the page where there is one, or what the typed client says.

import type { Place } from "./typed.js";

export const isPlace = (where: string | URL | Place): where is Place => (where as Partial<Place>).path !== undefined;

/** The whole URL, and whether cookies go there: what was said, or what the typed client says. */
export function locate(where: string | URL | Place, said?: RequestCredentials): { url: URL; credentials: RequestCredentials } {
  const origin = isPlace(where) ? where.origin() : undefined;
  const url = origin ? origin.baseUrl + (where as Place).path : (where as string | URL);
  // Not everywhere is a page.
  return { url: new URL(url, globalThis.location?.href), credentials: said ?? origin?.credentials ?? "same-origin" };
}
