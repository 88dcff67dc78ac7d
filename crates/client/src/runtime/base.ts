/** Where the gateway is, as in `https://api.example.com`; empty: where the page comes from. */
export let baseUrl = "";

let api_credentials = false;

/**
 * Sets {@link baseUrl}. With `credentials`, cookies go to another origin, too, which the server has to allow
 * (`sse.cors_origins`).
 */
export function setBaseUrl(url: string, credentials = false): void {
    baseUrl = url.replace(/\/+$/, "");
    api_credentials = credentials;
}

/** Where the gateway is, for the npm package pg-sse. */
export interface ApiOrigin {
    readonly baseUrl: string;
    readonly credentials: "include" | "same-origin";
}

function api_origin(): ApiOrigin {
    return { baseUrl, credentials: api_credentials ? "include" : "same-origin" };
}

/** How the text of a value is read. */
export type ApiKind = "void" | "json" | "text" | "number" | "boolean";
