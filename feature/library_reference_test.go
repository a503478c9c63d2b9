package feature

import (
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"millrace.dev/internal/detmath"
	"millrace.dev/internal/stat"
)

// growLibrary grows a call of a function of the library.
func (g *grower) growLibrary(k kind, depth int) *tree {
	const n, t, d = kindNumber, kindText, kindTime
	switch pick := g.pick(5); {
	case k == kindBool:
		return g.growDate(k, depth, "is_weekend")
	case k == kindText && pick == 0:
		return g.op("geohash", k, depth, n, n, n)
	case k == kindText && pick == 1:
		x := g.op("replace_regex", k, depth, t)
		x.extra = []string{pickOf(g, `(\d)(\d*)`, `(a)|(b)`, `(x*)()`), pickOf(g, "", "$2-$1", "$0$0", "$$1", "é")}
		return x
	case k == kindText && pick == 2:
		return g.op("split_part", k, depth, t, t, n)
	case k == kindText && pick == 3:
		return g.op("pad_left", k, depth, t, n, t)
	case k == kindText:
		return g.op(pickOf(g, "title", "digits"), k, depth, t)
	case pick == 0:
		return g.op(pickOf(g, "sin", "cos", "sign", "trunc"), k, depth, n)
	case pick == 1:
		return g.op(pickOf(g, "cycle_sin", "cycle_cos", "bin"), k, depth, n, n)
	case pick == 2:
		return g.op(pickOf(g, "von_mises", "haversine"), k, depth, n, n, n, n)
	case pick == 3:
		return g.growDate(k, depth, pickOf(g, "week", "quarter", "days_in_month", "minute_of_day", "second_of_day"))
	}
	switch g.pick(3) {
	case 0:
		return g.op("word_count", k, depth, t)
	case 1:
		return g.op("hash_bucket", k, depth, t, n)
	default:
		x := g.op("count_matches", k, depth, t)
		x.extra = []string{pickOf(g, somePatterns()...)}
		return x
	}
}

func (g *grower) growDate(k kind, depth int, op string) *tree {
	part := g.op(op, k, depth, kindTime)
	if g.pick(2) == 0 {
		part.extra = []string{pickOf(g, "America/Los_Angeles", "Asia/Kathmandu", "UTC", "Etc/GMT+12")}
	}
	return part
}

// evalLibrary is the second implementation of the library's functions, where that means anything; their arguments are
// there.
func evalLibrary(t *tree, args []cell) (v cell, ok bool) {
	switch first := args[0].(type) {
	case float64:
		return libraryOfNumbers(t.op, args)
	case string:
		return libraryOfTexts(t, first, args)
	case time.Time:
		if len(t.extra) == 1 && t.op != "in" {
			loc, err := time.LoadLocation(t.extra[0])
			if err != nil {
				panic(err)
			}
			first = first.In(loc)
		}
		return libraryOfTimes(t.op, first)
	}
	return nil, false
}

func libraryOfNumbers(op string, args []cell) (v cell, ok bool) {
	var x [4]float64
	for i, a := range args {
		x[i] = math.NaN()
		if f, ok := a.(float64); ok {
			x[i] = f
		}
	}
	switch op {
	case "sin":
		return detmath.Sin(x[0]), true
	case "cos":
		return detmath.Cos(x[0]), true
	case "sign":
		return float64(new(big.Float).SetFloat64(x[0]).Sign()), true
	case "trunc":
		return math.Copysign(x[0]-math.Mod(x[0], 1), x[0]), true
	case "cycle_sin", "cycle_cos":
		f := map[string]func(float64) float64{"cycle_sin": detmath.SinTurns, "cycle_cos": detmath.CosTurns}[op]
		if x[1] <= 0 {
			return nil, true
		}
		return f(math.Mod(x[0], x[1])/x[1]) + 0, true
	case "bin":
		q := x[0] / x[1]
		if math.IsInf(q, 0) {
			return nil, true
		}
		return float64(math.Floor(q) * x[1]), true
	case "von_mises":
		return vonMises(circleAngle(x[0], x[1], x[3]), x[2], detmath.I0Scaled(x[2])), true
	case "haversine":
		if math.Abs(x[1]) > 180 || math.Abs(x[3]) > 180 {
			return nil, true
		}
		return haversine(x[0], x[2], x[1]-x[3]), true
	case "geohash":
		return geohashExactly(x[0], x[1], x[2]), true
	}
	return nil, false
}

// geohashExactly numbers the cells with fractions of any size.
func geohashExactly(lat, lon, precision float64) cell {
	if math.Abs(lat) > 90 || math.Abs(lon) > 180 || precision < 1 || precision > 12 || precision != math.Trunc(precision) {
		return nil
	}
	n := 5 * int(precision)
	cellOf := func(x, half float64, bits int) *big.Int {
		r := new(big.Rat).SetFloat64(x)
		r.Quo(r.Add(r, new(big.Rat).SetFloat64(half)), new(big.Rat).SetFloat64(2*half))
		q := new(big.Int).Lsh(r.Num(), uint(bits))
		q.Quo(q, r.Denom())
		if last := new(big.Int).Lsh(big.NewInt(1), uint(bits)); q.Cmp(last) >= 0 {
			q.Sub(last, big.NewInt(1))
		}
		return q
	}
	a, b := cellOf(lon, 180, (n+1)/2), cellOf(lat, 90, n/2)
	var out []byte
	letter := uint(0)
	for i := range n {
		from, left := a, (n+1)/2-1-i/2
		if i%2 == 1 {
			from, left = b, n/2-1-i/2
		}
		letter = letter<<1 | from.Bit(left)
		if i%5 == 4 {
			out, letter = append(out, "0123456789bcdefghjkmnpqrstuvwxyz"[letter]), 0
		}
	}
	return string(out)
}

func libraryOfTexts(t *tree, s string, args []cell) (v cell, ok bool) {
	switch t.op {
	case "word_count":
		return float64(len(strings.Fields(s))), true
	case "hash_bucket":
		n := as[float64](args[1])
		if n < 1 || n > 1<<31-1 || n != math.Trunc(n) {
			return nil, true
		}
		h := big.NewInt(int64(stat.MurmurString(s, stat.MurmurSeed)))
		return float64(h.Mod(h, big.NewInt(int64(n))).Int64()), true
	case "count_matches":
		return float64(len(regexp.MustCompile(t.extra[0]).FindAllString(s, -1))), true
	case "replace_regex":
		if len(s) > maxText {
			return nil, true
		}
		template := regexp.MustCompile(`\$(\d)`).ReplaceAllString(strings.ReplaceAll(t.extra[1], "$$", "\x00"), "$${$1}")
		return bounded(regexp.MustCompile(t.extra[0]).ReplaceAllString(s, strings.ReplaceAll(template, "\x00", "$$"))), true
	case "title":
		return bounded(titleWords(s)), true
	case "digits":
		return regexp.MustCompile(`[^0-9]+`).ReplaceAllString(s, ""), true
	case "split_part":
		return splitText(s, as[string](args[1]), as[float64](args[2])), true
	case "pad_left":
		return padText(s, as[float64](args[1]), []rune(as[string](args[2]))), true
	}
	return nil, false
}

func padText(s string, width float64, pad []rune) cell {
	lack := width - float64(utf8.RuneCountInString(s))
	switch {
	case len(pad) == 0 || width != math.Trunc(width):
		return nil
	case lack <= 0:
		return s
	case lack > maxText:
		return nil
	}
	out := make([]rune, int(lack))
	for i := range out {
		out[i] = pad[i%len(pad)]
	}
	return bounded(string(out) + s)
}

// titleWords finds the words by a regular expression.
func titleWords(s string) string {
	words := regexp.MustCompile(`[\p{L}\p{Nd}][\p{L}\p{Nd}\p{M}'’]*`)
	return words.ReplaceAllStringFunc(s, func(w string) string {
		r, n := utf8.DecodeRuneInString(w)
		return string(unicode.ToTitle(r)) + strings.Map(lowerLetter, w[n:])
	})
}

func splitText(s, sep string, n float64) cell {
	parts := []string{s}
	if sep != "" {
		parts = strings.Split(s, sep)
	}
	if n < 0 {
		n += float64(len(parts)) + 1
	}
	if n < 1 || n > float64(len(parts)) || n != math.Trunc(n) {
		return nil
	}
	return parts[int(n)-1]
}

func libraryOfTimes(op string, d time.Time) (v cell, ok bool) {
	number := func(s string) float64 {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			panic(err)
		}
		return f
	}
	switch op {
	case "week":
		thursday := d.AddDate(0, 0, 3-(int(d.Weekday())+6)%7)
		return float64((thursday.YearDay()-1)/7 + 1), true
	case "quarter":
		return float64(int(d.Month()-1)/3 + 1), true
	case "days_in_month":
		return float64(32 - time.Date(d.Year(), d.Month(), 32, 0, 0, 0, 0, time.UTC).Day()), true
	case "minute_of_day":
		return 60*number(d.Format("15")) + number(d.Format("04")), true
	case "second_of_day":
		return 3600*number(d.Format("15")) + 60*number(d.Format("04")) + number(d.Format("05")), true
	case "is_weekend":
		return strings.HasPrefix(d.Format("Monday"), "S"), true
	}
	return nil, false
}

func lowerLetter(r rune) rune {
	if unicode.IsLetter(r) {
		return unicode.ToLower(r)
	}
	return r
}
