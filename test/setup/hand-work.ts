import { setTimeout as sleep } from 'node:timers/promises';
import { inTenant } from '../../db/tenancy.ts';
import { type ApiReply, openApi, type TestApi } from './api.ts';
import { addLocation } from './store.ts';

/** The application with a worker and a −80 freezer, for processes by hand over HTTP. */
export class HandWork {
  readonly api: TestApi;
  readonly siteId: string;
  readonly freezerId: string;
  #boxes = 0;
  #tubes = 0;

  private constructor(api: TestApi, siteId: string, freezerId: string) {
    this.api = api;
    this.siteId = siteId;
    this.freezerId = freezerId;
  }

  static async open(): Promise<HandWork> {
    // A busy machine may take longer than a person would wait; here it is told all the same.
    const api = await openApi({ worker: true, limits: { earlyAnswerMs: 60_000, answerMs: 60_000 } });
    const site = await addLocation(api.store, { type: 'site', name: 'Site' });
    const freezer = await addLocation(api.store, {
      type: 'freezer',
      name: 'Freezer',
      parent: site,
      barcode: 'FREEZER',
      zone: '-80',
    });
    return new HandWork(api, site, freezer);
  }

  close(): Promise<void> {
    return this.api.close();
  }

  /** A box of its own, so that tests do not take each other's positions. @returns its barcode */
  async addBox(rows = 2, columns = 2): Promise<string> {
    const barcode = `BOX-${++this.#boxes}`;
    await addLocation(this.api.store, {
      type: 'box_9x9',
      name: `Box ${this.#boxes}`,
      parent: this.freezerId,
      barcode,
      grid: { rows, columns, rowLabels: 'upper', columnLabels: 'number' },
    });
    return barcode;
  }

  nextTube(): string {
    return `TUBE-${++this.#tubes}`;
  }

  /** An order for a new tube of plasma. */
  plasma(changed: Record<string, unknown> = {}): Record<string, unknown> & { readonly barcode: string } {
    return { barcode: this.nextTube(), type: 'plasma', zone: '-80', ...changed };
  }

  post(path: string, json: unknown, headers: Record<string, string> = {}): Promise<ApiReply> {
    return this.api.send({ path, json, headers });
  }

  /** The job, once it is as wanted. */
  async settled(id: string, wanted: (body: ApiReply['body']) => boolean): Promise<ApiReply['body']> {
    const end = Date.now() + 20_000;
    for (;;) {
      const { body } = await this.api.send({ path: `/automation/jobs/${id}` });
      if (wanted(body)) return body;
      if (Date.now() > end) throw new Error(`job ${id} stayed ${body.state} / ${body.phase}`);
      await sleep(30);
    }
  }

  /** Rows of the laboratory. */
  counts(): Promise<Record<string, number>> {
    const { lab } = this.api;
    return inTenant(lab.app, lab.tenantId, async (tx) => {
      const of = async (table: 'sample' | 'job' | 'record_version') => {
        const { n } = await tx
          .selectFrom(table)
          .select((eb) => eb.fn.countAll<number>().as('n'))
          .executeTakeFirstOrThrow();
        return Number(n);
      };
      return { samples: await of('sample'), jobs: await of('job'), versions: await of('record_version') };
    });
  }

  /** The id of the location with this barcode. */
  idOf(barcode: string): Promise<string> {
    const { lab } = this.api;
    return inTenant(lab.app, lab.tenantId, async (tx) => {
      const row = await tx
        .selectFrom('location')
        .select('id')
        .where('barcode', '=', barcode)
        .executeTakeFirstOrThrow();
      return row.id;
    });
  }
}

export const isOver = (body: ApiReply['body']): boolean => body.finishedAt !== undefined;
