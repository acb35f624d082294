/** Ends the process, also where no native package can be loaded, as `memrack doctor` is to. */
export async function endWith(code: number): Promise<void> {
  const native = await import('../runtime/node/end-process.js').catch(() => undefined);
  (native?.endProcess ?? process.exit)(code);
}
