package feature

func addFittedFunctions(m map[string]function) {
	addNumberFits(m)
	addTextFits(m)
	addLabelFits(m)
}

func addVectorFunctions(m map[string]function) {
	m["vector"] = function{
		usage: "vector(x, y, ...)", min: 1, build: (*scope).vectorOf,
		doc: "a vector of numbers, each of which becomes an input of its own: NAME_0, NAME_1 and so on",
	}
	m["normalize"] = function{
		usage: "normalize(vector)", min: 1, max: 1, options: []option{numberOption("p", 2, 1, 1e6, "the norm")},
		doc: "the vector divided by its p-norm; a vector of zeros stays one",
	}
	m["polynomial"] = function{
		usage: "polynomial(vector)", min: 1, max: 1, options: []option{wholeOption("degree", 2, 1, 20, "how many elements a product has at most")},
		doc: "all products of elements of the vector, in the order x, x^2, y, x*y, y^2",
	}
	m["cross"] = function{
		usage: "cross(vector, vector)", min: 2, max: 2,
		options: []option{textOption("by", "multiply", "how two elements are combined", "multiply", "add", "subtract", "min", "max")},
		doc:     "each element of one vector combined with each of another; where one is 0 in a vector such as one_hot's, the result is 0",
	}
	for name, f := range map[string]func(*scope, *call, options, []*vector) ref{"normalize": normalize, "polynomial": polynomial, "cross": cross} {
		v := m[name]
		v.build = vectorCall(f)
		m[name] = v
	}
	m["bucketize"] = function{
		usage: "bucketize(x, splits: [0, 10, 20])", min: 1, max: 1, build: (*scope).bucketize,
		options: []option{
			listOption("splits", "the ends of the buckets, ascending: a bucket has its lower end, the last both"),
			textOption("output", outputOneHot, "an element for each bucket, or the number of the bucket", outputOneHot, outputIndex),
		},
		doc: "the bucket of x; outside of all it is none, which is counted",
	}
	m["von_mises_points"] = function{
		usage: "von_mises_points(x, kappa: 20, scale: 0.0043633, points: [0, 480, 960])", min: 1, max: 1, build: (*scope).vonMisesPoints,
		options: []option{
			numberOption("kappa", 1, 0, 1e6, "how narrow the distribution is"), numberOption("scale", 1, 1e-300, 1e300, "radians a unit of x: 2*pi/1440 for minutes of a day"),
			listOption("points", "where the density is taken, in the unit of x"),
		},
		doc: "von_mises around x at each of some points of a circle, a vector; missing where x is not on the circle, from 0 to 2*pi/scale, which is counted",
	}
	m["binarize"] = function{
		usage: "binarize(x)", min: 1, max: 1, build: (*scope).binarize, options: []option{numberOption("threshold", 0, -1e308, 1e308, "what x has to be above")},
		doc: "whether x is above a threshold",
	}
	m["indicator"] = function{usage: "indicator(x)", min: 1, max: 1, build: (*scope).indicator, doc: "whether x is there"}
	m["identity"] = function{usage: "identity(x)", min: 1, max: 1, build: func(s *scope, c *call) ref { return s.check(c.args[0]) }, doc: "x itself"}
}

func (s *scope) binarize(c *call) ref {
	o, ok := s.options(c)
	x := s.check(c.args[0])
	if !ok || !x.ok() {
		return ref{}
	}
	return s.apply(c.node, "less", func([]ref) ref { return c.types(s)([]ref{x}) }, s.number(c, o.number("threshold")), x)
}

func (s *scope) indicator(c *call) ref {
	x := s.check(c.args[0])
	missing := s.apply(c.node, "is_missing", c.types(s), x)
	return s.apply(c.node, "not", nil, missing)
}
