import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DomainError } from '../../domain/errors.ts';
import { assertAllowedParent, DEFAULT_LOCATION_TYPES } from '../../domain/location-type.ts';
import {
  type ContainerCandidate,
  checkRules,
  explainChoice,
  openPositions,
  rankContainers,
  type SampleNeed,
  scoreContainer,
  zoneServes,
  zonesServing,
} from '../../domain/placement.ts';
import { isId } from '../../domain/reference.ts';
import { ZONE_NAMES } from '../../domain/zone.ts';

const NEED: SampleNeed = { zone: '-80', type: 'plasma', project: 'HEART' };
const EMPTY_BOX: ContainerCandidate = {
  containerId: 'b0',
  name: 'Box 9×9 B-0',
  unitId: 'f1',
  zone: '-80',
  sampleTypes: null,
  total: 81,
  occupied: 0,
  reserved: 0,
  blocked: 0,
  expired: 0,
  isHandoff: false,
  isRetired: false,
  reachable: null,
  projectHere: 0,
  projectSeen: 0,
  doorOpens: false,
  order: 0,
};
const box = (id: string, changes: Partial<ContainerCandidate> = {}): ContainerCandidate => ({
  ...EMPTY_BOX,
  containerId: id,
  name: `Box 9×9 ${id}`,
  order: Number(id.slice(1)),
  ...changes,
});

describe('zones', () => {
  test('a zone serves a need when its whole range lies within what the need allows', () => {
    for (const need of ZONE_NAMES) expect(zonesServing(need)).toEqual([need]);
    expect(zoneServes('LN2', '-80')).toBe(false);
  });
});

describe('hard rules', () => {
  test.each<[string, Partial<ContainerCandidate>, string]>([
    ['in_service', { isRetired: true }, 'it is retired'],
    ['in_service', { isHandoff: true }, 'it is a hand-off, not a store'],
    ['temperature', { zone: '-20' }, 'it is at -20 (−35…−18 °C), and the sample needs -80 (−85…−60 °C)'],
    ['temperature', { zone: null }, 'no temperature is set for it, and the sample needs -80 (−85…−60 °C)'],
    ['type', { sampleTypes: ['serum', 'dna'] }, 'it takes serum, dna, not plasma'],
    ['type', { sampleTypes: [] }, 'it takes nothing, not plasma'],
    ['reach', { reachable: false }, 'the robot does not reach it'],
    [
      'capacity',
      { occupied: 70, reserved: 10, blocked: 1 },
      'none of its 81 positions is free (70 occupied, 10 reserved, 1 blocked)',
    ],
  ])('%s refuses %o', (rule, changes, detail) => {
    const broken = checkRules(NEED, box('b1', changes)).filter((verdict) => !verdict.passed);
    expect(broken).toEqual([{ rule, passed: false, detail }]);
    expect(rankContainers(NEED, [box('b1', changes)])[0]?.score).toBeNull();
  });

  test('an expired lease is room, a live one is not', () => {
    const full = box('b1', { occupied: 80, reserved: 1 });
    expect(openPositions(full)).toBe(0);
    expect(openPositions({ ...full, expired: 1 })).toBe(1);
    expect(rankContainers(NEED, [{ ...full, expired: 1 }])[0]?.score).not.toBeNull();
  });

  test('what passes says so', () => {
    const verdicts = checkRules(NEED, box('b1', { sampleTypes: ['plasma'], reachable: true }));
    expect(verdicts.every((verdict) => verdict.passed)).toBe(true);
    expect(verdicts.map((verdict) => verdict.detail)).toEqual([
      'it is in service',
      '-80 (−85…−60 °C) is what the sample needs',
      'it takes plasma',
      'the robot reaches it',
      '81 of 81 positions can be given away',
    ]);
  });
});

describe('strategy', () => {
  const together = box('b1', { projectHere: 1, projectSeen: 64, occupied: 1 });
  const openDoor = box('b2', { doorOpens: true, occupied: 1 });
  const fuller = box('b3', { occupied: 80 });
  const first = box('b4');
  const second = box('b5');

  test('a project is kept together, then no further door is opened, then one box is filled before the next', () => {
    const ranking = rankContainers(NEED, [second, first, fuller, openDoor, together]);
    expect(ranking.map((ranked) => ranked.candidate.containerId)).toEqual(['b1', 'b2', 'b3', 'b4', 'b5']);
  });

  test('no fill outweighs a door, no door and fill a project', () => {
    fc.assert(
      fc.property(fc.nat(81), fc.nat(81), fc.boolean(), (a, b, door) => {
        const kept = { ...together, occupied: a };
        const rival = box('b9', { occupied: b, doorOpens: door });
        expect(scoreContainer(kept).total).toBeGreaterThan(scoreContainer(rival).total);
        expect(scoreContainer(box('b8', { occupied: a, doorOpens: true })).total).toBeGreaterThan(
          scoreContainer(box('b9', { occupied: Math.min(b, 80) })).total,
        );
      }),
    );
  });

  test('the order of the candidates does not matter', () => {
    const all = [together, openDoor, fuller, first, second];
    fc.assert(
      fc.property(fc.shuffledSubarray(all, { minLength: all.length }), (some) => {
        expect(rankContainers(NEED, some)).toEqual(rankContainers(NEED, all));
      }),
    );
  });
});

describe('why this position', () => {
  test('names the rules passed, the points and two runners-up with why they lost', () => {
    const ranking = rankContainers(NEED, [
      box('b1', { projectHere: 40, projectSeen: 64, doorOpens: true, occupied: 40 }),
      box('b2', { projectHere: 24, projectSeen: 64, doorOpens: true, occupied: 24 }),
      box('b3', { occupied: 70 }),
      box('b4'),
    ]);
    expect(explainChoice(ranking, 'b1')).toMatchObject({
      containerId: 'b1',
      score: { total: 141.744, keepTogether: 131.25, door: 10, fill: 0.494 },
      runnersUp: [
        { containerId: 'b2', lostBecause: "it holds fewer of the project's tubes (24 of the newest 64)" },
        { containerId: 'b3', lostBecause: "it holds none of the project's tubes" },
      ],
    });
  });

  test.each<[Partial<ContainerCandidate>, Partial<ContainerCandidate>, string]>([
    [{ doorOpens: true }, {}, 'a further door would have to be opened'],
    [{ occupied: 9 }, { occupied: 3, reserved: 1 }, 'it is less full (4 of 81)'],
    [{}, {}, 'equal in points, but created later'],
    [{}, { occupied: 81 }, 'none of its 81 positions is free (81 occupied, 0 reserved, 0 blocked)'],
  ])('%o beats %o: %s', (winner, loser, why) => {
    const ranking = rankContainers(NEED, [box('b1', winner), box('b2', loser)]);
    expect(explainChoice(ranking, 'b1').runnersUp).toMatchObject([{ containerId: 'b2', lostBecause: why }]);
  });

  test('a better one that others were emptying at that moment comes first', () => {
    const ranking = rankContainers(NEED, [box('b1', { doorOpens: true }), box('b2'), box('b3')]);
    expect(explainChoice(ranking, 'b2').runnersUp.map((each) => each.lostBecause)).toEqual([
      'its free positions were being taken at the same moment',
      'equal in points, but created later',
    ]);
  });

  test('a container that nobody ranked cannot be explained', () => {
    expect(() => explainChoice([], 'b1')).toThrow('not among the candidates');
  });
});

describe('types of location', () => {
  const type = (code: string) => {
    const found = DEFAULT_LOCATION_TYPES.find((each) => each.code === code);
    if (!found) throw new Error(code);
    return found;
  };

  test('every allowed parent is a type, and every type can be reached from the root', () => {
    const codes = DEFAULT_LOCATION_TYPES.map((each) => each.code);
    expect(new Set(codes).size).toBe(codes.length);
    const reached = new Set(
      DEFAULT_LOCATION_TYPES.filter((each) => each.allowedParents.length === 0).map((each) => each.code),
    );
    for (const _ of codes) {
      for (const each of DEFAULT_LOCATION_TYPES) {
        if (each.allowedParents.some((parent) => reached.has(parent))) reached.add(each.code);
      }
    }
    expect([...reached].sort()).toEqual([...codes].sort());
    for (const each of DEFAULT_LOCATION_TYPES) {
      for (const parent of each.allowedParents) expect(codes).toContain(parent);
    }
  });

  test('each zone has a unit that makes it', () => {
    expect(new Set(DEFAULT_LOCATION_TYPES.flatMap((each) => (each.zone ? [each.zone] : [])))).toEqual(
      new Set(ZONE_NAMES),
    );
  });

  test('a location under a parent that is not allowed is refused, and told where it may stand', () => {
    expect(() => assertAllowedParent(type('box_9x9'), type('shelf'))).not.toThrow();
    expect(() => assertAllowedParent(type('site'), null)).not.toThrow();
    expect(() => assertAllowedParent(type('freezer'), type('box_9x9'))).toThrow(
      'a Freezer −80 may not stand in a Box 9×9: it stands in a site, building or room',
    );
    expect(() => assertAllowedParent(type('freezer'), null)).toThrow(DomainError);
    expect(() => assertAllowedParent(type('site'), type('room'))).toThrow('it stands at the root');
    expect(() => assertAllowedParent(type('building'), null)).toThrow('it stands in a site');
  });
});

test('a UUID-shaped reference is an id, anything else a barcode', () => {
  expect(isId('0198c5a2-7d10-7c3e-9a51-6f1f2b7c4d01')).toBe(true);
  expect(isId('0198C5A2-7D10-7C3E-9A51-6F1F2B7C4D01')).toBe(true);
  expect(isId('BOX-7')).toBe(false);
});
