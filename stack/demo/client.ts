import type { z } from 'zod';
import { Grant } from '../../schemas/identity.ts';
import { Problem } from '../../schemas/problem.ts';

/** What the demo signs in with: a person, at the station that stands at the robot. */
export interface Credentials {
  readonly email: string;
  readonly password: string;
  readonly station: { readonly id: string; readonly secret: string };
}

/** The API said no. */
export class Refusal extends Error {
  readonly status: number;
  readonly code: string;

  constructor(what: string, status: number, problem: { code: string; detail: string }) {
    super(`${what}: ${problem.detail} (${problem.code})`);
    this.name = 'Refusal';
    this.status = status;
    this.code = problem.code;
  }
}

/** A client of the HTTP API that knows nothing but the API: it signs in, and checks each reply against its schema. */
export class Client {
  readonly address: string;
  readonly #credentials: Credentials;
  #token: { readonly value: string; readonly goodUntil: number } | null = null;

  constructor(address: string, credentials: Credentials) {
    this.address = address;
    this.#credentials = credentials;
  }

  get<S extends z.ZodType>(path: string, schema: S): Promise<z.infer<S>> {
    return this.#call('GET', path, undefined, schema);
  }

  post<S extends z.ZodType>(
    path: string,
    body: unknown,
    schema: S,
    headers: Record<string, string> = {},
  ): Promise<z.infer<S>> {
    return this.#call('POST', path, body, schema, headers);
  }

  /** The reply, or null when there is no such thing. */
  async find<S extends z.ZodType>(path: string, schema: S): Promise<z.infer<S> | null> {
    try {
      return await this.get(path, schema);
    } catch (error) {
      if (error instanceof Refusal && error.status === 404) return null;
      throw error;
    }
  }

  /** Signs in anew shortly before the token runs out; the demo takes longer than a token may on a slow machine. */
  async #authorisation(): Promise<string> {
    if (this.#token === null || this.#token.goodUntil < Date.now()) {
      const grant = await this.#send('POST', '/auth/sign-in', this.#credentials, null, Grant);
      this.#token = { value: grant.accessToken, goodUntil: Date.parse(grant.expiresAt) - 60_000 };
    }
    return `Bearer ${this.#token.value}`;
  }

  async #call<S extends z.ZodType>(
    method: string,
    path: string,
    body: unknown,
    schema: S,
    headers: Record<string, string> = {},
  ): Promise<z.infer<S>> {
    return this.#send(method, path, body, await this.#authorisation(), schema, headers);
  }

  async #send<S extends z.ZodType>(
    method: string,
    path: string,
    body: unknown,
    authorisation: string | null,
    schema: S,
    headers: Record<string, string> = {},
  ): Promise<z.infer<S>> {
    const response = await fetch(`${this.address}${path}`, {
      method,
      headers: {
        ...headers,
        ...(authorisation !== null && { authorization: authorisation }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(30_000),
    });
    const reply: unknown = await response.json().catch(() => null);
    const what = `${method} ${path}`;
    if (!response.ok) {
      const problem = Problem.safeParse(reply);
      throw new Refusal(
        what,
        response.status,
        problem.data ?? { code: String(response.status), detail: 'the reply is not a problem+json' },
      );
    }
    const parsed = schema.safeParse(reply);
    if (!parsed.success) {
      throw new Error(`${what} answered with something else than its OpenAPI says: ${parsed.error.message}`);
    }
    return parsed.data;
  }
}
