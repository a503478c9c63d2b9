package feature

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// vector is a value that is a list of numbers. It is taken apart when a program is made: an input that is a vector
// becomes one input for each of its elements.
type vector struct {
	id     int32 // of the call that it waits for, or -1
	label  string
	names  []string
	values []ref
	sparse bool // 0 stands for an element that is not there
}

// newVector returns the ref of a vector.
func (c *checker) newVector(v vector) ref {
	c.vectors = append(c.vectors, v)
	return ref{int32(len(c.vectors) - 1), kindVector}
}

// waitingVector returns a vector whose elements are not known before a call is fitted.
func (c *checker) waitingVector(id int32) ref { return c.newVector(vector{id: id}) }

// named gives the elements of a vector the name of the feature that it is, for crosses.
func (c *checker) named(r ref, name string) ref {
	if r.kind != kindVector || c.vectors[r.id].label != "" {
		return r
	}
	v := c.vectors[r.id]
	v.label = name
	return c.newVector(v)
}

// whole returns a value that stands for r, also where that is a vector.
func (s *scope) whole(r ref) int32 {
	if r.kind != kindVector {
		return r.id
	}
	v := &s.vectors[r.id]
	if len(v.values) == 0 {
		return v.id
	}
	all := value{op: opCall, kind: kindVector, call: &pending{Function: "vector"}}
	for _, e := range v.values {
		all.args = append(all.args, e.id)
	}
	id, err := s.build.add(all)
	if err != nil {
		return v.values[0].id
	}
	return id.id
}

// vectorCall checks a function of vectors, once they are known.
func vectorCall(f func(s *scope, c *call, o options, args []*vector) ref) func(*scope, *call) ref {
	return func(s *scope, c *call) ref {
		o, ok := s.options(c)
		refs := s.all(c.args)
		waiting := value{op: opCall, kind: kindVector, call: &pending{c.name, o.settings(c.options)}}
		waits := false
		for _, r := range refs {
			switch {
			case !r.ok() || !ok:
				return ref{}
			case r.kind != kindVector:
				return c.types(s)(refs)
			}
			waiting.args = append(waiting.args, s.whole(r))
			waits = waits || len(s.vectors[r.id].values) == 0
		}
		if waits {
			return s.waitingVector(s.add(c.node, waiting).id)
		}
		args := make([]*vector, len(refs))
		for i, r := range refs {
			v := s.vectors[r.id]
			args[i] = &v
		}
		return f(s, c, o, args)
	}
}

// vector is vector(x, y, ...).
func (s *scope) vectorOf(c *call) ref {
	v := vector{id: -1}
	refs := s.all(c.args)
	for i, r := range refs {
		if !r.ok() {
			return ref{}
		}
		if r.kind == kindBool {
			r = s.apply(c.node, "number", nil, r)
		}
		if r.kind != kindNumber {
			return c.types(s)(refs)
		}
		v.names, v.values = append(v.names, strconv.Itoa(i)), append(v.values, r)
	}
	return s.newVector(v)
}

// normalize divides by the p-norm; a vector of zeros stays one.
func normalize(s *scope, c *call, o options, args []*vector) ref {
	p := o.number("p")
	sum := s.constant(c.node, opNumber, literal{})
	for _, e := range args[0].values {
		x := s.apply(c.node, "abs", nil, e)
		switch p {
		case 1:
		case 2:
			x = s.apply(c.node, "mul", nil, x, x)
		default:
			x = s.apply(c.node, "pow", nil, x, s.constant(c.node, opNumber, literal{number: p}))
		}
		sum = s.apply(c.node, "add", nil, sum, x)
	}
	norm := sum
	switch p {
	case 1:
	case 2:
		norm = s.apply(c.node, "sqrt", nil, sum)
	default:
		norm = s.apply(c.node, "pow", nil, sum, s.constant(c.node, opNumber, literal{number: 1 / p}))
	}
	zero := s.apply(c.node, "equal", nil, norm, s.constant(c.node, opNumber, literal{}))
	norm = s.apply(c.node, "select", nil, zero, s.constant(c.node, opNumber, literal{number: 1}), norm)
	out := vector{id: -1}
	for i, e := range args[0].values {
		out.names = append(out.names, strconv.Itoa(i))
		out.values = append(out.values, s.apply(c.node, "div", nil, e, norm))
	}
	return s.newVector(out)
}

// polynomial has all products of up to degree elements, in the order of Spark's PolynomialExpansion: those of the first
// elements alone come first (x, x^2, y, x*y, y^2).
func polynomial(s *scope, c *call, o options, args []*vector) ref {
	degree, x := o.whole("degree"), args[0].values
	count := 1.0
	for i := 1; i <= degree; i++ { // binomial(len(x)+degree, degree)
		count = count * float64(len(x)+i) / float64(i)
	}
	if count > maxInputs {
		return s.fail(c.node, fmt.Sprintf("the polynomial has %.0f terms: at most %d", count, maxInputs), "use a lower degree or a shorter vector")
	}
	one := s.constant(c.node, opNumber, literal{number: 1})
	var expand func(last, degree int, factor ref) []ref
	expand = func(last, degree int, factor ref) []ref {
		if degree == 0 || last < 0 {
			return []ref{factor}
		}
		var out []ref
		power := factor
		for i := 0; i <= degree; i++ {
			out = append(out, expand(last-1, degree-i, power)...)
			if i < degree {
				if power == one {
					power = x[last]
				} else {
					power = s.apply(c.node, "mul", nil, power, x[last])
				}
			}
		}
		return out
	}
	out := vector{id: -1}
	for i, r := range expand(len(x)-1, degree, one)[1:] { // the first is 1
		out.names, out.values = append(out.names, strconv.Itoa(i)), append(out.values, r)
	}
	return s.newVector(out)
}

// cross combines each element of one vector with each of another. Of elements that are not there nothing is made.
func cross(s *scope, c *call, o options, args []*vector) ref {
	a, b := args[0], args[1]
	if len(a.values)*len(b.values) > maxInputs {
		return s.fail(c.node, fmt.Sprintf("the cross has %d elements: at most %d", len(a.values)*len(b.values), maxInputs), "use fewer levels, such as one_hot(x, top: 20)")
	}
	name := func(v *vector, i int) string { return strings.TrimPrefix(v.label+"_"+v.names[i], "_") }
	op := map[string]string{"multiply": "mul", "add": "add", "subtract": "sub", "min": "min", "max": "max"}[o.text("by")]
	out := vector{id: -1, sparse: a.sparse || b.sparse}
	zero := s.constant(c.node, opNumber, literal{})
	for i, x := range a.values {
		for k, y := range b.values {
			r := s.apply(c.node, op, nil, x, y)
			for _, side := range []struct {
				sparse bool
				value  ref
			}{{a.sparse, x}, {b.sparse, y}} {
				if side.sparse && op != "mul" {
					r = s.apply(c.node, "select", nil, s.apply(c.node, "equal", nil, side.value, zero), zero, r)
				}
			}
			out.names, out.values = append(out.names, name(a, i)+"_x_"+name(b, k)), append(out.values, r)
		}
	}
	return s.newVector(out)
}

// bucketize is bucketize(x, splits: [...]): an element for each bucket.
func (s *scope) bucketize(c *call) ref {
	o, ok := s.options(c)
	x := s.check(c.args[0])
	if !ok || !x.ok() {
		return ref{}
	}
	if x.kind != kindNumber {
		return c.types(s)([]ref{x})
	}
	splits := o.list("splits")
	for i := range splits {
		if i > 0 && !(splits[i-1] < splits[i]) {
			return s.fail(c.node, "the splits must ascend", "")
		}
	}
	if len(splits) < 2 {
		return s.fail(c.node, "bucketize needs two splits at least", "a bucket lies between two splits")
	}
	return s.buckets(c, x, splits, o.text("output"))
}

// buckets returns the bucket of x: a vector with an element for each, or its number.
func (s *scope) buckets(c *call, x ref, splits []float64, output string) ref {
	code := s.add(c.node, value{op: opBucket, args: []int32{x.id}, numbers: slices.Clone(splits)})
	return s.coded(c, code, indexNames(len(splits)-1), output, false)
}

func indexNames(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = strconv.Itoa(i)
	}
	return names
}

// The values of the option output.
const (
	outputOneHot = "one_hot"
	outputIndex  = "index"
)

// coded makes of a code a vector with an element for each name, or the code alone. Codes that are notSeen are counted
// and missing.
func (s *scope) coded(c *call, code ref, names []string, output string, missing bool) ref {
	code = s.add(c.node, value{op: opSeen, args: []int32{code.id}, owner: s.name})
	if output == outputIndex || !code.ok() {
		return code
	}
	v := vector{id: -1, sparse: true, names: slices.Clone(names)}
	for i := range names {
		v.values = append(v.values, s.apply(c.node, "hot", nil, code, s.constant(c.node, opNumber, literal{number: float64(i)})))
	}
	if missing {
		v.names = append(v.names, missingName)
		v.values = append(v.values, s.apply(c.node, "number", nil, s.apply(c.node, "is_missing", nil, code)))
	}
	if len(v.values) == 0 { // training had no value at all
		v.names, v.values = []string{""}, []ref{s.constant(c.node, opNumber, literal{})}
	}
	return s.newVector(v)
}

// missingName names the element that is 1 where there is no label, or one that was not seen.
const missingName = "__missing__"

// vonMisesPoints is the density of a von Mises distribution around x at each of some points.
func (s *scope) vonMisesPoints(c *call) ref {
	o, ok := s.options(c)
	x := s.check(c.args[0])
	if !ok || !x.ok() {
		return ref{}
	}
	if x.kind != kindNumber {
		return c.types(s)([]ref{x})
	}
	scale, kappa, points := o.number("scale"), o.number("kappa"), o.list("points")
	// Outside of a turn the angle is not one of the circle that the points are on.
	inside := s.add(c.node, value{op: opWithin, args: []int32{x.id}, numbers: []float64{0, 2 * math.Pi / scale}, owner: s.name})
	same := s.apply(c.node, "equal", nil, inside, x)
	v := vector{id: -1}
	for i, p := range points {
		density := s.vonMisesDensity(c.node, x, s.constant(c.node, opNumber, literal{number: p}),
			s.constant(c.node, opNumber, literal{number: kappa}), s.constant(c.node, opNumber, literal{number: scale}))
		nothing := s.constant(c.node, opNumber, literal{missing: true})
		v.names = append(v.names, strconv.Itoa(i))
		v.values = append(v.values, s.apply(c.node, "select", nil, same, density, nothing))
	}
	return s.newVector(v)
}
