export function boardBytes(doomed: number, token: string): Uint8Array;
