import { DomainError, type InputProblem } from './errors.ts';
import type { Expectation, PositionDiff, RackDiff } from './rack-diff.ts';

/** Why a position is taken out of use when something stands in it that the record cannot name. */
export const STANDS_UNNAMED =
  'A tube stands here that a rack scan could not name: look what it is, and scan again.';

/** What applying a scan changes in the record. */
export interface RackPlan {
  /** tubes recorded in another place, or in none: each is in this position from now on */
  readonly placed: readonly {
    readonly sampleId: string;
    readonly positionId: string;
    readonly label: string;
  }[];
  /** tubes that were only asserted to be where they were read */
  readonly confirmed: readonly string[];
  /** tubes that are not where they are recorded; the positions of the box they may be in */
  readonly lost: readonly {
    readonly sampleId: string;
    readonly label: string;
    readonly candidates: readonly string[];
  }[];
  /** free positions in which something stands that has no name */
  readonly blocked: readonly { readonly positionId: string; readonly label: string }[];
  /** positions that an earlier scan took out of use, and of which this one says what is in them */
  readonly unblocked: readonly { readonly positionId: string; readonly label: string }[];
  /** positions with a tube that no record has, or whose barcode was read twice */
  readonly unexplained: readonly string[];
}

/**
 * What a scan changes, of the whole box at once: the order in which tubes lay in it before does not matter.
 * @throws DomainError SAMPLE_BUSY or POSITION_OCCUPIED naming position and job, POSITION_BLOCKED, CONFLICT for tubes
 *   outside the box or disposed of
 */
export function planRack(diff: RackDiff, expected: Expectation): RackPlan {
  const at = new Map(expected.positions.map((position) => [cellKey(position), position]));
  const positionOf = (each: PositionDiff) => at.get(cellKey(each));
  const isNamed = ({ verdict }: PositionDiff) =>
    verdict === 'moved' || verdict === 'elsewhere' || verdict === 'found';

  refuseOutside(diff);
  refuseBusy(diff, isNamed);

  const unnamed = diff.positions.filter(
    ({ verdict }) => verdict === 'unknown' || verdict === 'duplicate' || verdict === 'unread',
  );
  const unseen = diff.positions.filter(({ verdict }) => verdict === 'unread' || verdict === 'not_scanned');
  const lostOf = new Map(
    diff.positions.flatMap((each) => (each.absent ? [[each.absent.sampleId, each.label] as const] : [])),
  );
  // Read in two positions, of which neither or only one is its own: nobody knows which of them it is in.
  const duplicates = new Map<string, string[]>();
  for (const each of diff.positions) {
    if (each.verdict !== 'duplicate' || !each.tube) continue;
    const id = positionOf(each)?.positionId;
    duplicates.set(each.tube.sampleId, [...(duplicates.get(each.tube.sampleId) ?? []), ...(id ? [id] : [])]);
  }
  const displaced = diff.positions.flatMap((each) => {
    const sampleId = positionOf(each)?.sampleId;
    const isThere = each.verdict === 'match' || each.tube?.sampleId === sampleId;
    return sampleId && !isThere && duplicates.has(sampleId) && says(each)
      ? [{ sampleId, label: each.label }]
      : [];
  });
  for (const { sampleId, label } of displaced) lostOf.set(sampleId, label);

  const unseenIds = unseen.flatMap((each) => positionOf(each)?.positionId ?? []);
  const plan: RackPlan = {
    placed: diff.positions.flatMap((each) => {
      const position = positionOf(each);
      return isNamed(each) && each.tube && position
        ? [{ sampleId: each.tube.sampleId, positionId: position.positionId, label: each.label }]
        : [];
    }),
    confirmed: diff.positions.flatMap(({ verdict, tube }) =>
      verdict === 'match' && tube?.witness === 'asserted' && tube.jobId === null ? [tube.sampleId] : [],
    ),
    lost: [...lostOf].map(([sampleId, label]) => ({
      sampleId,
      label,
      candidates: duplicates.get(sampleId) ?? unseenIds,
    })),
    blocked: unnamed.flatMap((each) => {
      const position = positionOf(each);
      const willBeFree =
        position?.state === 'free' ||
        (position?.state === 'occupied' &&
          position.sampleId !== null &&
          leaves(position.sampleId, diff, lostOf));
      return position && willBeFree ? [{ positionId: position.positionId, label: each.label }] : [];
    }),
    unblocked: diff.positions.flatMap((each) => {
      const position = positionOf(each);
      const isExplained = isNamed(each) || each.verdict === 'empty';
      return position?.isDoubtful && isExplained
        ? [{ positionId: position.positionId, label: each.label }]
        : [];
    }),
    unexplained: diff.positions.flatMap(({ verdict, label }) =>
      verdict === 'unknown' || verdict === 'duplicate' ? [label] : [],
    ),
  };
  refuseBlocked(diff, isNamed, positionOf);
  return plan;
}

function cellKey({ cell }: { readonly cell: { readonly row: number; readonly column: number } }): string {
  return `${cell.row}/${cell.column}`;
}

/** Whether the scan says what is in the position. */
function says({ verdict }: PositionDiff): boolean {
  return verdict !== 'unread' && verdict !== 'not_scanned';
}

/** Whether a tube of the box is not in its position any more once the scan has been applied. */
function leaves(sampleId: string, diff: RackDiff, lost: ReadonlyMap<string, string>): boolean {
  return (
    lost.has(sampleId) ||
    diff.positions.some(({ tube, verdict }) => verdict === 'moved' && tube?.sampleId === sampleId)
  );
}

function refuse(
  code: 'CONFLICT' | 'SAMPLE_BUSY' | 'POSITION_OCCUPIED' | 'POSITION_BLOCKED',
  problems: InputProblem[],
) {
  const first = problems[0];
  if (!first) return;
  const more = problems.length === 1 ? '' : ` and ${problems.length - 1} more, see errors`;
  throw new DomainError(code, `${first.pointer}: ${first.detail}${more}`, { errors: problems });
}

function refuseOutside(diff: RackDiff): void {
  refuse(
    'CONFLICT',
    diff.positions.flatMap(({ isInBox, barcode, verdict, label }) =>
      !isInBox && (barcode !== null || verdict === 'unread')
        ? [
            {
              pointer: label,
              detail: 'a tube was scanned in a position that the box does not have: scan it as the box it is',
            },
          ]
        : [],
    ),
  );
  refuse(
    'CONFLICT',
    diff.positions.flatMap(({ tube, label }) =>
      tube?.custody === 'disposed'
        ? [
            {
              pointer: label,
              detail: `the tube was disposed of (sample ${tube.sampleId}): one with its barcode should not exist`,
            },
          ]
        : [],
    ),
  );
}

/** Jobs under way keep their tubes and positions: what a scan says of them is their own business. */
function refuseBusy(diff: RackDiff, isNamed: (each: PositionDiff) => boolean): void {
  const wait = (jobId: string) => `job ${jobId}: wait until it is over, and scan again`;
  refuse(
    'SAMPLE_BUSY',
    diff.positions.flatMap((each) => {
      const busy = [isNamed(each) ? each.tube : null, each.absent].find((tube) => tube?.jobId);
      return busy?.jobId
        ? [{ pointer: each.label, detail: `sample ${busy.sampleId} belongs to ${wait(busy.jobId)}` }]
        : [];
    }),
  );
  refuse(
    'POSITION_OCCUPIED',
    diff.positions.flatMap((each) => {
      const left = isNamed(each) ? (each.tube?.place?.jobId ?? null) : null;
      const held = isNamed(each) || each.absent ? (each.jobId ?? left) : null;
      return held ? [{ pointer: each.label, detail: `the position is held by ${wait(held)}` }] : [];
    }),
  );
}

function refuseBlocked(
  diff: RackDiff,
  isNamed: (each: PositionDiff) => boolean,
  positionOf: (each: PositionDiff) => Expectation['positions'][number] | undefined,
): void {
  refuse(
    'POSITION_BLOCKED',
    diff.positions.flatMap((each) => {
      const position = positionOf(each);
      return isNamed(each) && position?.state === 'blocked' && !position.isDoubtful
        ? [
            {
              pointer: each.label,
              detail: 'a tube stands in a blocked position: unblock it first, or take the tube out',
            },
          ]
        : [];
    }),
  );
}
