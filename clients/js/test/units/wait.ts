// Waiting for what will be so.

/** Until `is` answers something that is not false or undefined; fails after ten seconds with what it was. */
export async function until<T>(is: () => T | undefined | false, what = String(is)): Promise<T> {
  const end = Date.now() + 10_000;
  for (;;) {
    const value = is();
    if (value !== undefined && value !== false) return value;
    if (Date.now() > end) throw new Error(`not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
