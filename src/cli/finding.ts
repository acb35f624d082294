/** What `memrack doctor` has found about one thing. */

export interface Finding {
  readonly check: string;
  /** What it is about, for scripts; of checks of this machine their name in capitals. */
  readonly code?: string;
  /** `later`: only needed by parts that are not in this version. `skipped`: not looked at. */
  readonly state: 'good' | 'warning' | 'bad' | 'later' | 'skipped';
  readonly found: string;
  readonly remedy: string;
}

export const good = (check: string, found: string): Finding => {
  return { check, state: 'good', found, remedy: '' };
};

export const bad = (check: string, found: string, remedy: string): Finding => {
  return { check, state: 'bad', found, remedy };
};

/** Of a file. */
export interface FileFindings {
  readonly findings: readonly Finding[];
  /** It could not be looked at: it is not there, or is being served. */
  readonly isRefused: boolean;
}
