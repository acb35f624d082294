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
