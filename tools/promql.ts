// What an expression of Prometheus asks for, read by the grammar of Prometheus itself.
import { parser } from '@prometheus-io/lezer-promql';

export interface Selector {
  readonly metric: string;
  readonly labels: readonly string[];
}

/** Every selector of series; throws where the expression is none. */
export function selectorsOf(expression: string): Selector[] {
  const found: { metric: string; labels: string[] }[] = [];
  let isWrong = false;
  parser.parse(expression).iterate({
    enter: ({ type, name, from, to, node }) => {
      const text = expression.slice(from, to);
      if (type.isError) isWrong = true;
      if (name === 'VectorSelector') found.push({ metric: '', labels: [] });
      const last = found.at(-1);
      if (last === undefined) return;
      const isOfSelector = node.parent?.name === 'VectorSelector';
      if (name === 'Identifier' && isOfSelector) last.metric = text;
      if (name === 'LabelName' && node.parent?.name === 'UnquotedLabelMatcher') {
        last.labels.push(text);
      }
    },
  });
  if (isWrong) throw new Error(`no expression of Prometheus: ${expression}`);
  return found;
}

interface Panel {
  readonly title: string;
  readonly targets?: readonly { readonly expr: string }[];
}

/** The expressions of a board of Grafana, with what it would put in place of its variables. */
export function boardExpressions(board: { readonly panels: readonly Panel[] }): string[] {
  const written = board.panels.flatMap(({ targets }) => targets?.map(({ expr }) => expr) ?? []);
  return written.map((expr) => expr.replaceAll('$node', '.*').replaceAll('$__rate_interval', '1m'));
}
