// Reads metrics in the text format of Prometheus, as strictly as Prometheus does, and holds them to
// the rules of `promtool check metrics`: help, units, suffixes, names.

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Family {
  readonly name: string;
  readonly kind: string;
  readonly help: string;
  readonly samples: Sample[];
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const LABEL = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)/;
const KINDS = ['counter', 'gauge', 'histogram', 'summary', 'untyped'];

/** Throws where the text breaks the format. */
export function parseExposition(text: string): Family[] {
  if (!text.endsWith('\n')) throw new Error('the last line is not ended');
  const families: Family[] = [];
  const known = new Set<string>();
  let help: readonly [name: string, text: string] | undefined;
  for (const line of text.slice(0, -1).split('\n')) {
    const [, what, name = '', rest = ''] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? [];
    if (what === 'HELP') {
      help = [name, rest];
    } else if (what === 'TYPE') {
      if (!NAME.test(name) || !KINDS.includes(rest)) throw new Error(`wrong type: ${line}`);
      if (known.has(name)) throw new Error(`${name} comes a second time`);
      known.add(name);
      families.push({ name, kind: rest, help: help?.[0] === name ? help[1] : '', samples: [] });
    } else {
      addSample(families.at(-1), parseSample(line));
    }
  }
  return families;
}

function addSample(family: Family | undefined, sample: Sample): void {
  if (family === undefined) throw new Error(`${sample.name} has no type`);
  const suffixes = family.kind === 'histogram' ? ['_bucket', '_sum', '_count'] : [''];
  if (!suffixes.some((suffix) => sample.name === `${family.name}${suffix}`)) {
    throw new Error(`${sample.name} stands below ${family.name}`);
  }
  const key = keyOf(sample);
  if (family.samples.some((other) => keyOf(other) === key)) throw new Error(`${key} comes twice`);
  family.samples.push(sample);
}

export function keyOf({ name, labels }: Sample): string {
  const pairs = Object.entries(labels).map(([label, value]) => `${label}=${JSON.stringify(value)}`);
  return `${name}{${pairs.sort().join(',')}}`;
}

function parseSample(line: string): Sample {
  const [, name = '', , inner = '', number = ''] = /^([^\s{]+)(\{(.*)\})? (\S+)$/.exec(line) ?? [];
  if (!NAME.test(name)) throw new Error(`no sample: ${line}`);
  const labels: Record<string, string> = {};
  for (let left = inner; left !== ''; ) {
    const match = LABEL.exec(left);
    const label = match?.[1] ?? '';
    if (match === null || label in labels) throw new Error(`wrong labels: ${line}`);
    labels[label] = (match[2] ?? '').replaceAll(/\\(.)/g, (_, c: string) => (c === 'n' ? '\n' : c));
    left = left.slice(match[0].length);
  }
  const value = { '+Inf': Infinity, '-Inf': -Infinity, NaN }[number] ?? Number(number);
  if (Number.isNaN(value) && number !== 'NaN') throw new Error(`no number: ${line}`);
  return { name, labels, value };
}

/** Of the units that Prometheus has a base unit for, those that are not that. */
const WRONG_UNITS = new RegExp(
  `(^|_)(${[
    '(milli|micro|nano)seconds?|minutes?|hours?|days?|weeks?|bits?|percents?|percentages?',
    '(kilo|mega|giga|kibi|mebi|gibi)bytes?|celcius|kelvins?',
    'ms|us|ns|s|sec|min|h|d|b|kb|mb|gb|tb|kib|mib|gib|tib',
  ].join('|')})(_|$)`,
);

/** What `promtool check metrics` would say, one line each. */
export function lintMetrics(families: readonly Family[]): string[] {
  return families.flatMap((family) => {
    const { name, kind, help, samples } = family;
    const complaints: string[] = [];
    const check = (isGood: boolean, text: string): void => {
      if (!isGood) complaints.push(`${name}: ${text}`);
    };
    check(help !== '', 'no help text');
    check(samples.length > 0, 'no samples');
    check(name.endsWith('_total') === (kind === 'counter'), 'counters, and they alone, are _total');
    check(!/_(bucket|sum|count)$/.test(name), 'ends like a series of a histogram');
    check(!/(^|_)(counter|gauge|histogram|summary|untyped)(_|$)/.test(name), 'names its type');
    check(/^[a-z_][a-z0-9_]*$/.test(name), 'is not snake_case');
    check(!WRONG_UNITS.test(name), 'has a unit that is no base unit, or is abbreviated');
    for (const { labels, value } of samples) {
      const own = Object.keys(labels).filter((label) => kind !== 'histogram' || label !== 'le');
      check(
        own.every((label) => /^[a-z_][a-z0-9_]*$/.test(label)),
        'a label is not snake_case',
      );
      check(!own.includes('le') && !own.includes('quantile'), 'has a label of histograms');
      check(kind !== 'counter' || value >= 0, 'a counter is below 0');
    }
    if (kind === 'histogram') check(areBucketsWhole(family), 'its buckets do not add up');
    return [...new Set(complaints)];
  });
}

function areBucketsWhole({ name, samples }: Family): boolean {
  const counts = samples.filter((sample) => sample.name === `${name}_count`);
  return counts.every(({ labels, value }) => {
    const own = samples.filter((sample) => {
      const { le, ...rest } = sample.labels;
      return le !== undefined && JSON.stringify(rest) === JSON.stringify(labels);
    });
    const bounds = own.map(
      (sample) => ({ '+Inf': Infinity })[sample.labels['le'] ?? ''] ?? Number(sample.labels['le']),
    );
    const isRising = own.every((sample, i) => {
      const before = own[i - 1];
      const isAfter = (bounds[i] ?? NaN) > (bounds[i - 1] ?? -Infinity);
      return before === undefined || (isAfter && sample.value >= before.value);
    });
    return isRising && own.at(-1)?.value === value && bounds.at(-1) === Infinity;
  });
}
