/** Conformance: clocks, timers, entropy, checksums. */

import type { Stream } from '../network.js';
import { type Case, expectEqual, expectThat, handler, sleepOn, until } from './check.js';
import { connected } from './streams.js';

const TEXT_DIGITS = Uint8Array.from([0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39]);
const CRC_OF_DIGITS = 0xe3069283;
const YEAR_2020_MS = 1_577_836_800_000;

export const TIME_CASES: readonly Case[] = [
  {
    name: 'a timer never fires early, by the clock of the same runtime',
    async run({ runtime }) {
      for (const ms of [0, 0.5, 1, 3, 7, 20]) {
        const start = runtime.clock.now();
        await sleepOn(runtime, ms);
        const passed = runtime.clock.now() - start;
        expectThat(passed >= ms, `a timer of ${ms} ms fired after ${passed} ms`);
      }
      expectThat(runtime.clock.wall() > YEAR_2020_MS, 'wall time is milliseconds since 1970');
    },
  },
  {
    name: 'timers fire in the order of their times',
    async run({ runtime }) {
      const fired: number[] = [];
      for (const ms of [60, 20, 40]) runtime.timers.after(ms, () => fired.push(ms));
      await sleepOn(runtime, 100);
      expectEqual(fired, [20, 40, 60], 'order');
    },
  },
  {
    name: 'a cancelled timer does not fire, however often it is cancelled',
    async run({ runtime }) {
      let fired = 0;
      const timer = runtime.timers.after(5, () => fired++);
      timer.cancel();
      timer.cancel();
      const done = runtime.timers.after(1, () => fired++);
      await sleepOn(runtime, 20);
      done.cancel();
      expectEqual(fired, 1, 'timers fired');
    },
  },
  {
    name: 'soon comes after all settled promises, in order, and before timers',
    async run({ runtime }) {
      const seen: string[] = [];
      runtime.timers.after(0, () => seen.push('timer'));
      runtime.timers.soon(() => seen.push('soon 1'));
      runtime.timers.soon(() => {
        seen.push('soon 2');
        runtime.timers.soon(() => seen.push('soon 3'));
      });
      const chain = async (): Promise<void> => {
        for (let i = 0; i < 50; i++) await Promise.resolve();
        seen.push('promises');
      };
      await Promise.all([chain(), sleepOn(runtime, 10)]);
      expectEqual(seen, ['promises', 'soon 1', 'soon 2', 'soon 3', 'timer'], 'order');
    },
  },
  {
    name: 'soon comes before the next input',
    async run(world) {
      let calls = 0;
      let waiting = 0;
      const takes = handler({
        received(_stream, _input, start, end) {
          expectEqual(waiting, 0, 'soon callbacks still waiting when input came');
          calls += 1;
          waiting += 1;
          world.peer.timers.soon(() => {
            waiting -= 1;
          });
          return Math.min(8, end - start);
        },
      });
      const near = await connected(world, handler({}), takes);
      for (let i = 0; i < 50; i++) {
        sendWord(near.stream, i);
        if (i % 7 === 0) await sleepOn(world.runtime, 1);
      }
      await until(world.runtime, () => calls >= 3, 'input arrives');
      near.stream.close('done');
    },
  },
  {
    name: 'random numbers stay in their ranges',
    async run({ runtime }) {
      const { entropy } = runtime;
      const seen = new Set<number>();
      for (let i = 0; i < 1_000; i++) {
        const [word, wide, part] = [entropy.u32(), entropy.u53(), entropy.fraction()];
        expectThat(Number.isInteger(word) && word >= 0 && word < 2 ** 32, `u32 gave ${word}`);
        expectThat(Number.isSafeInteger(wide) && wide >= 1, `u53 gave ${wide}`);
        expectThat(part >= 0 && part < 1, `fraction gave ${part}`);
        seen.add(wide);
      }
      expectEqual(seen.size, 1_000, 'different numbers among 1,000');
    },
  },
  {
    name: 'the checksum is CRC-32C, and can be continued',
    async run({ runtime }) {
      const { checksum } = runtime;
      expectEqual(checksum.crc32c(TEXT_DIGITS, 0, 9), CRC_OF_DIGITS, 'the check value');
      const bytes = Uint8Array.from({ length: 5_000 }, (_, i) => (i * 7) & 255);
      for (const cut of [0, 1, 13, 1_024, 4_990]) {
        const first = checksum.crc32c(bytes, 3, 3 + cut);
        const whole = checksum.crc32c(bytes, 3, 5_000);
        const rest = checksum.crc32c(bytes, 3 + cut, 5_000, first);
        expectEqual(rest, whole, `continued after ${cut} bytes`);
      }
    },
  },
];

function sendWord(stream: Stream, word: number): void {
  const at = stream.reserve(8);
  expectThat(at >= 0, 'room for 8 bytes');
  stream.output.view.setUint32(at, word, true);
  stream.output.view.setUint32(at + 4, 0, true);
  stream.commit(8);
  stream.flush();
}
