import { describe, expect, it } from 'vitest';
import { cloudEvent, EVENT_TYPES, eventTopic } from '../../domain/events.ts';

const EVENT = {
  tenantId: '01900000-0000-7000-8000-000000000001',
  id: '01900000-0000-7000-8000-000000000002',
  position: 42,
  type: 'storage.sample.placed',
  subject: 'sample/01900000-0000-7000-8000-000000000003',
  time: new Date('2026-11-21T04:00:00.120Z'),
  data: { sample_id: '01900000-0000-7000-8000-000000000003', ai_optimized: true },
};

describe('events for other services', () => {
  it('are CloudEvents 1.0 in structured mode with stream and position', () => {
    expect(cloudEvent(EVENT)).toEqual({
      specversion: '1.0',
      id: EVENT.id,
      source: '/tracseq/01900000-0000-7000-8000-000000000001',
      type: 'storage.sample.placed',
      subject: EVENT.subject,
      time: '2026-11-21T04:00:00.120Z',
      datacontenttype: 'application/json',
      stream: 'storage.events',
      position: '42',
      data: EVENT.data,
    });
  });

  it('have attribute names that CloudEvents allows: lower-case letters and digits', () => {
    for (const name of Object.keys(cloudEvent(EVENT))) expect(name).toMatch(/^[a-z0-9]{1,20}$/);
  });

  it('go to a topic of their tenant and type, without wildcards', () => {
    expect(eventTopic(EVENT)).toBe(
      'tracseq/01900000-0000-7000-8000-000000000001/events/storage.sample.placed',
    );
    for (const type of EVENT_TYPES) expect(type).toMatch(/^[a-z]+(?:\.[a-z_]+)+$/);
  });
});
