/** Whether what a test expects is not so while a bug is planted. */
export async function failsWith<Faults extends Record<string, boolean>>(
  faults: Faults,
  bug: keyof Faults,
  check: () => void | Promise<void>,
): Promise<boolean> {
  const switches: Record<keyof Faults, boolean> = faults;
  switches[bug] = true;
  try {
    await check();
    return false;
  } catch (error) {
    if (error instanceof Error && error.name === 'AssertionError') return true;
    throw error;
  } finally {
    switches[bug] = false;
  }
}
