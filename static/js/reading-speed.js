// How long so much text counts as being read. annotate/people/active_time.py has the same rule for
// the server; a test holds both equal.
const WORD = /[^ \t\n\v\f\r\u00a0\u2000-\u200a\u2028\u2029\u202f\u3000]+/gu;
// Scripts that are written without spaces: two characters are about a word.
const UNSPACED = /[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]/gu;

const count = (text, what) => text.match(what)?.length ?? 0;

export function countWords(text) {
  return count(text, WORD) + Math.floor(count(text, UNSPACED) / 2);
}

// A pace is words a minute, and the seconds that count at least and at most.
export function milliseconds(words, [wordsAMinute, least, most]) {
  return Math.floor(Math.min(Math.max((words * 60) / wordsAMinute, least), most) * 1000);
}
