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
//	x between low and high             both ends included, also after not; the same as between(x, low, high)
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
//	         both ends included, also for times and texts; number(text or bool); sign(x), -1, 0 or 1; trunc(x), towards
//	         zero; bin(x, width), which is floor(x / width) * width
//	Circles  sin cos (x), of radians; cycle_sin cycle_cos (x, period), of 2π * x / period, such as cycle_sin(hour(t), 24);
//	         von_mises(x, mu, kappa, scale), the density exp(kappa * cos(scale * (x - mu))) / (2π I0(kappa)) of the von
//	         Mises distribution: how close x and mu are on a circle of circumference 2π / scale
//	Places   haversine(lat1, lon1, lat2, lon2), kilometres between two points, given in degrees, on a sphere of radius
//	         6371.0088 km; geohash(lat, lon, precision), a text of 1 to 12 letters
//	Texts    lower upper trim (t); len(t); starts_with ends_with contains (t, u); matches(t, "regex");
//	         extract(t, "regex"), the first group, or the match if there is no group; extract(t, "regex", n), group n,
//	         0 for the match; replace(t, old, new), every occurrence; text(number or bool); title(t); word_count(t);
//	         digits(t), its digits 0 to 9; split_part(t, separator, n), from 1 on, or from -1 at the end;
//	         pad_left(t, width, "0"); hash_bucket(t, n), from 0 to n-1; count_matches(t, "regex");
//	         replace_regex(t, "regex", "replacement"), every match, with $0 for the match, $1 to $9 for its groups and
//	         $$ for a dollar
//	Times    year month day hour minute second weekday (Monday 1 to Sunday 7) day_of_year week (of ISO 8601) quarter
//	         days_in_month minute_of_day second_of_day is_weekend (t), or with the name of a time zone:
//	         hour(t, "Europe/Paris"); unix(t), seconds since 1970; days_since(t, u), days of 24 hours
//	         from u to t; time("2014-05-02") and time("2014-05-02T15:04:05Z"), a literal
//	Missing  is_missing(x); coalesce(x, y, ...), the first that is not missing
//	Columns  column("any name"), for names that are not words
//
// [Reference] has every function with its named arguments, also the fitted ones, which learn from the training rows, and
// those of vectors, each element of which becomes an input. A program can add its own: see [Function].
//
// A rule for records, see [Plan.CompileRules], is a condition that can also say x in training.
//
// There is no clock and no randomness. Everything else that the parser's language has (lists and maps as values,
// closures, members, variables, ranges, other functions) is an error that says where.
//
// # Missing values
//
// A missing operand gives a missing result, in arithmetic, comparisons and functions; the exceptions are and, or,
// ?:, ??, coalesce and is_missing. A result that is not finite is missing: a division by zero, an overflow, the
// logarithm or the root of a negative number; so is what a function is not defined for: a period, a scale or a number
// of buckets that is not positive, a latitude beyond 90 or a longitude beyond 180 degrees, a point outside a circle's 0 to
// 2π / scale, a count of letters or code points that is not whole. An infinite number of a column is missing, too. A NaN
// never takes part in a comparison. Missing inputs and unseen levels are counted, see [Evaluator.Counts].
//
// # Texts
//
// len and t[a:b] count code points. An end below 0 counts from the end of the text. A part outside the text is not
// there: "abc"[2:9] is "c" and "abc"[5:] is "", which is not missing. An end that is no whole number gives a missing
// text. lower and upper map code points one by one, as the Unicode version of the Go release that built the
// program has it. A text that a function would make longer than 65,536 bytes is missing. number(t)
// reads decimal numbers with white space around them; everything else is missing. text(x) is the shortest text that
// reads back as x.
//
// Regular expressions are RE2's, literals, and compiled once. They have at most 1,000 bytes and about 5,000 instructions,
// repetitions written out: (a{1000}){1000} is an error. None backtracks without end, but one of many instructions can
// take as many steps for each byte of a text. That of replace_regex has at most 9 groups; (?:...) does not count.
//
// title maps the first letter or digit of each word to title case and its other letters to lower case; letters, digits,
// marks and apostrophes go on with a word. word_count counts what white space separates. A part that split_part does not
// find is missing; "" separates nothing. pad_left counts code points, and never shortens. The bucket of a text is its hash
// modulo n: MurmurHash3 of its UTF-16 code units, with the seed of Scala's stringHash, as in Featran.
//
// What depends on one enum column alone is computed once for each level, not for each row: statezip[3:] costs one
// table look-up a row. An evaluator keeps the results of a batch's known levels; see [Plan.Levels].
//
// # Numbers
//
// All arithmetic is float64, and every operation is rounded once: nothing is fused. exp, log, powers, sin and cos come
// from pure Go code; sin and cos are accurate for angles of any size. The two of a cycle take whole periods off first,
// exactly: they are 0 and 1 or -1 at its quarters. x ** 2 is x * x; another whole power is repeated multiplication and can be off by some units in the
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
