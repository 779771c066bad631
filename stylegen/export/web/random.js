// Latents of seeds: numpy.random.RandomState(seed).randn(n), number by number.
// The generator is MT19937 (Matsumoto and Nishimura 1998), the normal numbers are Marsaglia's polar method.

const N = 624, M = 397;

class RandomState {
  constructor(seed) {
    const state = (this.state = new Uint32Array(N));
    state[0] = seed;
    for (let i = 1; i < N; i++) state[i] = Math.imul(1812433253, state[i - 1] ^ (state[i - 1] >>> 30)) + i;
    this.next = N;
    this.spare = null; // the second of a pair of normal numbers
  }

  integer() { // 32 random bits
    const { state } = this;
    if (this.next === N) {
      for (let i = 0; i < N; i++) {
        const y = (state[i] & 0x80000000) | (state[(i + 1) % N] & 0x7fffffff);
        state[i] = state[(i + M) % N] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
      }
      this.next = 0;
    }
    let y = state[this.next++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  uniform() { // in [0, 1), 53 bits
    const high = this.integer() >>> 5, low = this.integer() >>> 6;
    return (high * 67108864 + low) / 9007199254740992;
  }

  normal() {
    if (this.spare !== null) {
      const spare = this.spare;
      this.spare = null;
      return spare;
    }
    let a, b, r;
    do {
      a = 2 * this.uniform() - 1;
      b = 2 * this.uniform() - 1;
      r = a * a + b * b;
    } while (r >= 1 || r === 0);
    const factor = Math.sqrt((-2 * Math.log(r)) / r);
    this.spare = factor * a;
    return factor * b;
  }
}

/** The latent of a seed, a whole number from 0 to 2^32 - 1: Float32Array [size]. */
export function latent(seed, size) {
  const random = new RandomState(seed);
  return Float32Array.from({ length: size }, () => random.normal());
}
