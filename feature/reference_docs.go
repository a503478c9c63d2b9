package feature

// functionText is what the reference says of a function beside its usage. One that has named arguments brings its
// sentence itself.
type functionText struct{ group, doc, example string }

// functionDocs has the texts of all functions.
func functionDocs() map[string]functionText {
	return map[string]functionText{
		"abs":      {groupNumbers, "x without its sign", "abs(bedrooms - 3)"},
		"floor":    {groupNumbers, "the largest whole number that is at most x", "floor(sqft_living / 100)"},
		"ceil":     {groupNumbers, "the smallest whole number that is at least x", "ceil(sqft_living / 100)"},
		"round":    {groupNumbers, "the nearest whole number, halves away from zero", "round(sqft_living / 100)"},
		"trunc":    {groupNumbers, "x without its fraction, towards zero", "trunc(lat)"},
		"sign":     {groupNumbers, "-1, 0 or 1, as x is below 0, 0 or above", "sign(lat)"},
		"sqrt":     {groupNumbers, "the square root; missing for a number below 0", "sqrt(sqft_living)"},
		"log":      {groupNumbers, "the natural logarithm; missing unless x is above 0", "log(sqft_living)"},
		"log1p":    {groupNumbers, "log(1 + x), accurate also for a small x", "log1p(bedrooms)"},
		"exp":      {groupNumbers, "e to the power of x", "exp(bedrooms / 10)"},
		"min":      {groupNumbers, "the smallest of several numbers", "min(sqft_living, 5000)"},
		"max":      {groupNumbers, "the largest of several numbers", "max(bedrooms, 1)"},
		"clip":     {groupNumbers, "x, at least low and at most high", "clip(bedrooms, 1, 6)"},
		"between":  {groupNumbers, "whether x lies from low to high, both included; also of texts and times", "between(bedrooms, 2, 4)"},
		"bin":      {groupNumbers, "floor(x / width) * width: the lower end of the interval that x lies in", "bin(yr_built, 10)"},
		"binarize": {groupNumbers, "", "binarize(bedrooms, threshold: 2)"},
		"number":   {groupNumbers, "the number that a text is, with white space around it, or 1 for true and 0 for false", "number(statezip[3:])"},
		"identity": {groupNumbers, "", "identity(bedrooms)"},

		"sin":       {groupCircles, "the sine of radians", "sin(lat * 0.017453292519943295)"},
		"cos":       {groupCircles, "the cosine of radians", "cos(lat * 0.017453292519943295)"},
		"cycle_sin": {groupCircles, "the sine of 2π * x / period, exact at the quarters of the period", "cycle_sin(hour(date), 24)"},
		"cycle_cos": {groupCircles, "the cosine of 2π * x / period, exact at the quarters of the period", "cycle_cos(month(date) - 1, 12)"},
		"von_mises": {groupCircles, "the density of the von Mises distribution, exp(kappa * cos(scale * (x - mu))) / (2π I0(kappa)): how close x and mu are on a circle of " +
			"circumference 2π / scale", "von_mises(minute_of_day(date), 720, 20, 0.004363323129985824)"},
		"von_mises_points": {groupCircles, "", "von_mises_points(minute_of_day(date), kappa: 20, scale: 0.004363323129985824, points: [0, 480, 960])"},
		"haversine":        {groupCircles, "the kilometres between two points given in degrees, on a sphere of radius 6371.0088 km", "haversine(lat, lon, 47.6062, -122.3321)"},
		"geohash":          {groupCircles, "the cell of a point as a text of 1 to 12 letters", "geohash(lat, lon, 5)"},

		"lower":       {groupTexts, "the text in lower case", "lower(street)"},
		"upper":       {groupTexts, "the text in upper case", "upper(street)"},
		"title":       {groupTexts, "the text with the first letter of each word in title case", "title(street)"},
		"trim":        {groupTexts, "the text without white space around it", "trim(street)"},
		"len":         {groupTexts, "the number of code points", "len(street)"},
		"starts_with": {groupTexts, "whether the text starts with another", `starts_with(statezip, "WA")`},
		"ends_with":   {groupTexts, "whether the text ends with another", `ends_with(street, "Ave")`},
		"contains":    {groupTexts, "whether the text contains another", `contains(street, "Lake")`},
		"replace":     {groupTexts, "the text with every occurrence of one part replaced", `replace(street, "Street", "St")`},
		"text":        {groupTexts, "the shortest text that reads back as a number, or true or false", "text(bedrooms)"},
		"word_count":  {groupTexts, "the number of words, which white space separates", "word_count(street)"},
		"digits":      {groupTexts, "the digits 0 to 9 of a text", "digits(statezip)"},
		"split_part":  {groupTexts, "part n of a text that separators take apart, counted from 1, or from -1 at the end; missing where there is none", `split_part(statezip, " ", 2)`},
		"pad_left":    {groupTexts, "the text with as many letters before it as it lacks of a width", `pad_left(digits(statezip), 6, "0")`},
		"hash_bucket": {groupTexts, "the bucket of a text among n, by its hash: the one of hash_one_hot", "hash_bucket(street, 100)"},

		"matches":       {groupPatterns, "whether a regular expression (RE2) matches somewhere in the text", `matches(street, "^[0-9]+ ")`},
		"extract":       {groupPatterns, "the first group of the first match, or the match if there is no group; missing where nothing matches", `extract(street, "^([0-9]+)")`},
		"count_matches": {groupPatterns, "the number of matches, which do not overlap", `count_matches(street, "[0-9]")`},
		"replace_regex": {groupPatterns, "the text with every match replaced; $0 is the match, $1 to $9 its groups and $$ a dollar", `replace_regex(street, "([0-9]+) (.*)", "$2 $1")`},

		"year":          {groupTimes, "the year, in UTC or a time zone", `year(date)`},
		"month":         {groupTimes, "the month, 1 to 12", `month(date, "Europe/Paris")`},
		"day":           {groupTimes, "the day of the month, 1 to 31", `day(date)`},
		"hour":          {groupTimes, "the hour, 0 to 23", `hour(date, "America/Los_Angeles")`},
		"minute":        {groupTimes, "the minute, 0 to 59", `minute(date)`},
		"second":        {groupTimes, "the second, 0 to 59", `second(date)`},
		"weekday":       {groupTimes, "the day of the week, Monday 1 to Sunday 7", `weekday(date, "America/Los_Angeles")`},
		"day_of_year":   {groupTimes, "the day of the year, 1 to 366", `day_of_year(date)`},
		"week":          {groupTimes, "the week of ISO 8601, 1 to 53", `week(date)`},
		"quarter":       {groupTimes, "the quarter, 1 to 4", `quarter(date)`},
		"days_in_month": {groupTimes, "how many days the month has", `days_in_month(date)`},
		"minute_of_day": {groupTimes, "the minute of the day, 0 to 1439", `minute_of_day(date)`},
		"second_of_day": {groupTimes, "the second of the day, 0 to 86399", `second_of_day(date)`},
		"is_weekend":    {groupTimes, "whether it is a Saturday or a Sunday", `is_weekend(date, "America/Los_Angeles")`},
		"unix":          {groupTimes, "the seconds since 1970", `unix(date)`},
		"days_since":    {groupTimes, "the days of 24 hours from a start to a time", `days_since(date, listed)`},
		"time":          {groupTimes, "a literal time; without a zone it is UTC", `days_since(date, time("2014-05-02"))`},

		"is_missing": {groupMissing, "whether x is missing", "is_missing(yr_renovated)"},
		"indicator":  {groupMissing, "", "indicator(yr_renovated)"},
		"coalesce":   {groupMissing, "the first of several values that is not missing", "coalesce(yr_renovated, yr_built)"},
		"impute":     {groupMissing, "", `impute(sqft_living, by: "mean")`},

		"standard":         {groupScaling, "", "standard(log(sqft_living))"},
		"min_max":          {groupScaling, "", "min_max(sqft_living, low: -1, high: 1)"},
		"max_abs":          {groupScaling, "", "max_abs(lat)"},
		"quantile_bucket":  {groupScaling, "", "quantile_bucket(sqft_living, buckets: 10)"},
		"iqr_outlier":      {groupScaling, "", "iqr_outlier(sqft_living, lower: false)"},
		"quantile_outlier": {groupScaling, "", "quantile_outlier(sqft_living, buckets: 100)"},
		"z_score":          {groupScaling, "", "z_score(sqft_living, city)"},

		"one_hot":             {groupCategories, "", "one_hot(city, top: 20, oov: 4)"},
		"position":            {groupCategories, "", "position(city)"},
		"vocabulary":          {groupCategories, "", "vocabulary(city, top: 1000, oov: 16)"},
		"heavy_hitters":       {groupCategories, "", "heavy_hitters(street, top: 5)"},
		"n_hot":               {groupCategories, "", "n_hot(tags, top: 50)"},
		"n_hot_weighted":      {groupCategories, "", `n_hot_weighted(tags, sep: ",", weight: ":")`},
		"ngrams":              {groupCategories, "", "ngrams(lower(street), low: 1, high: 2, top: 100)"},
		"hash_one_hot":        {groupCategories, "", "hash_one_hot(street, size: 64)"},
		"hash_n_hot":          {groupCategories, "", "hash_n_hot(tags, size: 64)"},
		"hash_n_hot_weighted": {groupCategories, "", "hash_n_hot_weighted(tags, size: 64)"},

		"mdl_bucket":  {groupLabel, "", "mdl_bucket(sqft_living, text(price > 500000))"},
		"target_mean": {groupLabel, "", "target_mean(city, folds: 5, smoothing: 20)"},

		"vector":     {groupVectors, "", "vector(sqft_living, bedrooms)"},
		"normalize":  {groupVectors, "", "normalize(vector(lat, lon))"},
		"polynomial": {groupVectors, "", "polynomial(vector(sqft_living, bedrooms), degree: 2)"},
		"cross":      {groupVectors, "", "cross(one_hot(city, top: 5), bucketize(bedrooms, splits: [0, 2, 4, 10]))"},
		"bucketize":  {groupVectors, "", "bucketize(bedrooms, splits: [0, 2, 4, 10])"},

		"column": {groupColumns, "the column of a name that is no word, such as one with a space or a dot", `column("lot size")`},
	}
}

// aggregateDocs has the texts of the aggregates of windows, as package window computes them.
func aggregateDocs() map[string]functionText {
	return map[string]functionText{
		"count":      {doc: "the number of records before this one in its window, or of those in which x is not missing; 0 for none", example: "count()"},
		"sum":        {doc: "the sum of x; missing without a value, as all that follow but distinct", example: "sum(sqft_living)"},
		"mean":       {doc: "the mean of x", example: "mean(sqft_living)"},
		"min":        {doc: "the smallest x", example: "min(sqft_living)"},
		"max":        {doc: "the largest x", example: "max(sqft_living)"},
		"variance":   {doc: "the variance of x, of a sample: divided by n - 1; missing for fewer than two values", example: "variance(sqft_living)"},
		"stddev":     {doc: "the square root of the variance", example: "stddev(sqft_living)"},
		"distinct":   {doc: "how many different values x has: exact for up to 64 in each tile, then an estimate with a standard error of 4.6 %", example: "distinct(street)"},
		"first":      {doc: "the x with the earliest event time", example: "first(sqft_living)"},
		"last":       {doc: "the last x before the record by event time, or the k-th back, k from 1 to 100", example: "last(sqft_living)"},
		"lag":        {doc: "another name of last", example: "lag(sqft_living, 2)"},
		"difference": {doc: "the record's own x less last(x, 1)", example: "difference(sqft_living)"},
		"percentile": {doc: "the x of rank ceil(p * n) in ascending order, p from 0 to 1: exact for up to 64 different values in each tile", example: "percentile(sqft_living, 0.9)"},
	}
}
