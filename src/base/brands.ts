/**
 * Numbers that must not be mixed up, told apart by the compiler and free at run time.
 *
 * All are integers below 2^53: a bigint would cost two to five times as much in the codecs.
 */

declare const brand: unique symbol;
type Branded<Base, Name extends string> = Base & { readonly [brand]: Name };

/** The place of a frame in a memory node: its byte offset divided by the page size. */
export type FrameIndex = Branded<number, 'FrameIndex'>;
/** The number that the controller gave to an address space; never used twice. */
export type SpaceId = Branded<number, 'SpaceId'>;
/** A virtual address divided by `REGION_BYTES`. */
export type RegionIndex = Branded<number, 'RegionIndex'>;
/** A version of an ownership: who holds a lower one changes nothing any more. */
export type Epoch = Branded<number, 'Epoch'>;
