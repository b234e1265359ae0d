import { Counter, collectDefaultMetrics, Histogram, Registry } from 'prom-client';

/** What Prometheus reads about the API. */
export interface Metrics {
  readonly registry: Registry;
  readonly requests: Counter<'method' | 'route' | 'status'>;
  readonly seconds: Histogram<'method' | 'route'>;
  /** early answers of processes, by outcome: accepted, refused, late */
  readonly processes: Counter<'kind' | 'outcome'>;
}

/** @param ofProcess also measure memory, event loop and garbage collection of this process */
export function createMetrics(ofProcess: boolean): Metrics {
  const registry = new Registry();
  if (ofProcess) collectDefaultMetrics({ register: registry });
  return {
    registry,
    requests: new Counter({
      name: 'tracseq_http_requests_total',
      help: 'Requests answered',
      labelNames: ['method', 'route', 'status'],
      registers: [registry],
    }),
    seconds: new Histogram({
      name: 'tracseq_http_request_seconds',
      help: 'Time until a reply was ready',
      labelNames: ['method', 'route'],
      buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
      registers: [registry],
    }),
    processes: new Counter({
      name: 'tracseq_process_starts_total',
      help: 'Processes asked for, by what came of the early answer',
      labelNames: ['kind', 'outcome'],
      registers: [registry],
    }),
  };
}
