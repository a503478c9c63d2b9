// Package feature computes the inputs of a model from the columns of a record.Batch. Features are expressions
// such as
//
//	zip:          statezip[3:]
//	age:          year(date) - yr_built
//	renovated:    yr_renovated > 0
//	living_share: sqft_living / sqft_lot
//
// [Compile] checks them and makes one linear program for all, a [Plan]. A [Fitter] completes the plan with the
// levels of its enum inputs, and an [Evaluator] runs it, column by column. The encoded plan is part of the model;
// [ReadPlan] needs neither the expressions nor their parser. A [Predicate] is a condition on the columns.
//
// # Values
//
// A value is a number (float64), a bool, a text or a time (microseconds since 1970), or it is missing. The columns
// of a schema are numbers, texts (both enum and string columns) and times. Nothing is converted on its own:
// number(x) and text(x) convert. A model takes a bool as 0 or 1, and a text as a level of an enum.
//
// # Operators
//
// From the weakest to the strongest:
//
//	c ? a : b, if c { a } else { b }   a where c holds, b where it does not, missing where c is missing
//	or ||, and &&                      three-valued (Kleene) logic: missing or true is true, missing and false is false
//	== != < <= > >=                    numbers, times, texts (by bytes); == and != also bools. a < b < c is a < b and b < c
//	x in [...], x not in [...]         a list of literals: numbers, texts or times
//	matches contains startsWith endsWith, each also after not
//	+ -                                numbers; + joins two texts
//	not !                              binds weaker than * and / and stronger than +: write not (a == b), or a != b
//	* / %                              numbers; % has the sign of its left operand
//	- +                                of one number
//	**                                 a power, from the right; -x ** 2 is -(x ** 2)
//	x ?? y                             y where x is missing; brackets are needed beside other operators to its right
//	t[a:b], t[a:], t[:b]               the part of a text, see below
//
// x | f(y) is f(x, y). Comments are /* ... */ and // to the end of a line. Numbers are written 1000, 1_000, 0.5,
// 1e6, 0xff; texts "..." and '...' with escapes, and `...` without; nil is the missing value and takes its type
// from the other branch of a condition, as in: yr_renovated > 0 ? yr_renovated : nil.
//
// # Functions
//
//	Numbers  abs floor ceil sqrt log (natural) log1p exp (x); round(x), halves away from zero;
//	         min max (x, y, ...); clip(x, low, high), which is min(max(x, low), high); between(x, low, high),
//	         both ends included, also for times and texts; number(text or bool)
//	Texts    lower upper trim (t); len(t); starts_with ends_with contains (t, u); matches(t, "regex");
//	         extract(t, "regex"), the first group, or the match if there is no group; extract(t, "regex", n), group n,
//	         0 for the match; replace(t, old, new), every occurrence; text(number or bool)
//	Times    year month day hour minute second weekday (Monday 1 to Sunday 7) day_of_year (t), or with the name of
//	         a time zone: hour(t, "Europe/Paris"); unix(t), seconds since 1970; days_since(t, u), days of 24 hours
//	         from u to t; time("2014-05-02") and time("2014-05-02T15:04:05Z"), a literal
//	Missing  is_missing(x); coalesce(x, y, ...), the first that is not missing
//	Columns  column("any name"), for names that are not words
//
// There is no clock and no randomness. Everything else that the parser's language has (lists and maps as values,
// closures, members, variables, ranges, other functions) is an error that says where.
//
// # Missing values
//
// A missing operand gives a missing result, in arithmetic, comparisons and functions; the exceptions are and, or,
// ?:, ??, coalesce and is_missing. A result that is not finite is missing: a division by zero, an overflow, the
// logarithm or the root of a negative number; so is an infinite number of a column. A NaN never takes part in a
// comparison. Missing inputs and unseen levels are counted, see [Evaluator.Counts].
//
// # Texts
//
// len and t[a:b] count code points. An end below 0 counts from the end of the text. A part outside the text is not
// there: "abc"[2:9] is "c" and "abc"[5:] is "", which is not missing. An end that is no whole number gives a missing
// text. lower and upper map code points one by one, as the Unicode version of the Go release that built the
// program has it. A text that +, lower, upper or replace would make longer than 65,536 bytes is missing. number(t)
// reads decimal numbers with white space around them; everything else is missing. text(x) is the shortest text that
// reads back as x. Regular expressions are RE2's, literals, compiled once, and of at most 1,000 bytes.
//
// What depends on one enum column alone is computed once for each level, not for each row: statezip[3:] costs one
// table look-up a row. An evaluator keeps the results of a batch's known levels; see [Plan.Levels].
//
// # Numbers
//
// All arithmetic is float64, and every operation is rounded once: nothing is fused. exp, log and powers come from
// pure Go code. x ** 2 is x * x; another whole power is repeated multiplication and can be off by some units in the
// last place; what is left of a power beside a whole one and a square root is exp(y * log(x)). Time zones are tables in the plan, for the years 1900 to
// 2099: the plan does not depend on the database of the machine that runs it. So a plan gives the same bits on
// every machine and for every way of cutting the rows into batches. Integers that float64 cannot hold are errors.
//
// # The plan
//
// A program is a list of values in static single assignment form. Equal values are shared, also between features;
// values of constants alone are computed at once, by the code that would compute them later; what no input needs
// is dropped. Its order follows the inputs. See [Plan.MarshalBinary] for the encoding, and [Plan.Digest] for what
// makes two plans equal: the features' source text is kept for people to read, and is no part of the digest.
package feature
