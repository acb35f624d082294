/** What is asked of numbers in several messages, beyond their widths. */

import * as limits from './limits.js';

/** A greater number would be taken for another space where it is packed into a word. */
export const spaceRule = (value: { readonly space: number }): string | null =>
  value.space < limits.SPACE_ID_END ? null : `${value.space} is the number of no space`;

/** A greater number would be taken for a region of another space; 0 is never used. */
export const regionRule = (value: { readonly region: number }): string | null =>
  value.region > 0 && value.region < limits.REGIONS_PER_SPACE_MAX
    ? null
    : `${value.region} is the number of no region`;

export const placeRule = (value: {
  readonly space: number;
  readonly region: number;
}): string | null => spaceRule(value) ?? regionRule(value);
