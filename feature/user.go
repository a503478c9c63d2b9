package feature

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"
	"millrace.dev/record"
)

// ErrFunction means that a plan calls a function that was not given, or was given with another version or other types.
var ErrFunction = errors.New("the plan calls a function that is not given")

// Function is a function that a program adds to the language, see [Declaration]. A plan that calls it stores its name, its
// version and its types, and whoever reads the plan has to give the same function: see [ReadPlan].
type Function struct {
	// Name is a word of letters, digits and underscores that no function of the language has.
	Name string
	// Version says which code it is: a plan is read with the function of the version alone that it was made with. Give it
	// another one whenever any result changes.
	Version string
	// Args are the types of its arguments: 1 to 3.
	Args []Type
	// Result is the type of its result.
	Result Type
	// Call computes the result of some rows, one or more: out has room for a value of each row, all of them missing. What
	// it leaves missing is missing for the model, and counted; that is how a row without a result is told. A number
	// that is not finite is missing, and so is a text longer than 65,536 bytes.
	//
	// It must give the same result for the same arguments, whatever the other rows are: no clock, no randomness, no
	// state. It is called by several goroutines at once, for rows again and again, and for each level of an enum column
	// in the place of its rows. It must not keep the slices, nor texts of arguments, beyond the call, though a text of the
	// result can be a part of one. It must not change the length of out: that is a panic, as one of its own is.
	Call func(args []Column, out *Column)
}

// Type is the type of an argument or a result of a [Function].
type Type uint8

// The types.
const (
	TypeNumber Type = iota + 1
	TypeBool
	TypeText
	TypeTime
)

// String returns the name of the type.
func (t Type) String() string { return t.kind().String() }

func (t Type) kind() kind {
	if t < TypeNumber || t > TypeTime {
		return kindInvalid
	}
	return kindNumber + kind(t-TypeNumber)
}

// Column is a value of each of some rows, in the list of its type; the others are empty.
type Column struct {
	// Numbers are the values of a number, NaN where it is missing. Those of a bool are 1, 0 and NaN; as a result, any number
	// but 0 is true.
	Numbers []float64
	// Texts are the values of a text.
	Texts []record.Text
	// Times are those of a time, in microseconds since 1970, record.MissingTime where it is missing.
	Times []int64
}

// functionJSON is a function as a plan has it.
type functionJSON struct {
	Name    string   `json:"name"`
	Version string   `json:"version"`
	Args    []string `json:"args"`
	Result  string   `json:"result"`
}

func (f *Function) json() *functionJSON {
	j := &functionJSON{Name: f.Name, Version: f.Version, Result: f.Result.String()}
	for _, a := range f.Args {
		j.Args = append(j.Args, a.String())
	}
	return j
}

func (f *Function) letters() string {
	var b strings.Builder
	for _, a := range f.Args {
		b.WriteByte(a.kind().letter())
	}
	return b.String()
}

func (f *Function) usage() string {
	j := f.json()
	return f.Name + "(" + strings.Join(j.Args, ", ") + ")"
}

// checkFunctions tells whether functions can be added to the language.
func checkFunctions(functions []Function) error {
	own := newFunctions()
	word := regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	for i := range functions {
		f := &functions[i]
		fail := func(why string) error { return fmt.Errorf("feature: function %q: %s", f.Name, why) }
		_, taken := own[f.Name]
		node, _, e := parse(f.Name + "(x)")
		var called string
		if e == nil {
			called, _ = callOf(node)
		}
		switch {
		case !word.MatchString(f.Name) || called != f.Name:
			return fail("its name is no word, or one that the language has for something else")
		case taken || slices.ContainsFunc(functions[:i], func(g Function) bool { return g.Name == f.Name }):
			return fail("there is a function of this name")
		case f.Version == "" || len(f.Version) > 100 || !utf8.ValidString(f.Version):
			return fail("its version must be UTF-8 text of 1 to 100 bytes")
		case len(f.Args) < 1 || len(f.Args) > maxArguments:
			return fail(fmt.Sprintf("it has %d arguments: want 1 to %d", len(f.Args), maxArguments))
		case f.Result.kind() == kindInvalid || slices.ContainsFunc(f.Args, func(t Type) bool { return t.kind() == kindInvalid }):
			return fail("one of its types is none")
		case f.Call == nil:
			return fail("it has no Call")
		}
	}
	return nil
}

// addUserFunctions adds functions that were checked.
func addUserFunctions(m map[string]function, functions []Function) {
	for i := range functions {
		f := &functions[i]
		m[f.Name] = function{usage: f.usage(), min: len(f.Args), max: len(f.Args), build: func(s *scope, c *call) ref { return s.userCall(c, f) }}
	}
}

// userCall checks a call of a function of the program.
func (s *scope) userCall(c *call, f *Function) ref {
	refs := s.all(c.args)
	v := value{op: opUser, kind: f.Result.kind(), function: f}
	for i, r := range refs {
		if !r.ok() {
			return ref{}
		}
		want := f.Args[i].kind()
		if _, isNil := c.args[i].(*ast.NilNode); isNil {
			r = s.constant(c.args[i], opNumber+opcode(want-kindNumber), literal{missing: true})
		}
		if r.kind != want {
			return c.types(s)(refs)
		}
		v.args = append(v.args, r.id)
	}
	return s.add(c.node, v)
}

// readUser finds the function that a stored call is of.
func (p *Plan) readUser(v *value, letters string, j *functionJSON) error {
	if j == nil {
		return errors.New("a call of no function")
	}
	i := slices.IndexFunc(p.given, func(f Function) bool { return f.Name == j.Name })
	if i < 0 {
		return fmt.Errorf("%w: %s@%s", ErrFunction, j.Name, j.Version)
	}
	f := &p.given[i]
	own := f.json()
	switch {
	case f.Version != j.Version:
		return fmt.Errorf("%w: it calls %s@%s, and %s@%s is given", ErrFunction, j.Name, j.Version, f.Name, f.Version)
	case own.Result != j.Result || !slices.Equal(own.Args, j.Args):
		return fmt.Errorf("%w: %s@%s takes (%s) there and gives a %s, and %s is given, which gives a %s", ErrFunction,
			j.Name, j.Version, strings.Join(j.Args, ", "), j.Result, f.usage(), f.Result)
	case f.letters() != letters:
		return fmt.Errorf("%s does not take (%s)", j.Name, letters)
	}
	v.op, v.kind, v.function = opUser, f.Result.kind(), f
	return nil
}

// Functions returns the functions that the plan calls beside those of the language, as NAME@VERSION, sorted.
func (p *Plan) Functions() []string {
	var out []string
	for i := range p.prog.values {
		if f := p.prog.values[i].function; f != nil {
			out = append(out, f.Name+"@"+f.Version)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// userCalls has room for the arguments and the results of a call.
type userCalls struct {
	*Function
	args []Column
	full []Column // args and then the result, at their full length
	out  Column
}

func newUserCalls(f *Function, size int) userCalls {
	u := userCalls{Function: f, args: make([]Column, len(f.Args))}
	for _, t := range append(slices.Clone(f.Args), f.Result) {
		var c Column
		switch t {
		case TypeText:
			c.Texts = make([]record.Text, size)
		case TypeTime:
			c.Times = make([]int64, size)
		default:
			c.Numbers = make([]float64, size)
		}
		u.full = append(u.full, c)
	}
	return u
}

// first returns the first n rows of a column.
func (c *Column) first(n int) Column {
	return Column{Numbers: c.Numbers[:min(n, len(c.Numbers))], Texts: c.Texts[:min(n, len(c.Texts))], Times: c.Times[:min(n, len(c.Times))]}
}

// callUser calls a function with copies of its arguments: it cannot spoil what others read.
func (m *machine) callUser(r *registers, c *code, n int) {
	u := &m.calls[c.aux]
	for i, reg := range []int32{c.a, c.b, c.c}[:len(u.args)] {
		a := u.full[i].first(n)
		switch u.Args[i] {
		case TypeNumber:
			copy(a.Numbers, r.number[reg])
		case TypeBool:
			numberBool(a.Numbers, r.flag[reg])
		case TypeText:
			for k, t := range r.text[reg][:n] {
				a.Texts[k] = record.Text{S: t.s, OK: t.ok}
			}
		default:
			copy(a.Times, r.time[reg])
		}
		u.args[i] = a
	}
	u.out = u.full[len(u.args)].first(n)
	fill(u.out.Numbers, nan())
	fill(u.out.Times, missingTime)
	clear(u.out.Texts)
	u.Call(u.args, &u.out)
	if got := max(len(u.out.Numbers), len(u.out.Texts), len(u.out.Times)); got != n {
		panic(fmt.Sprintf("feature: function %s@%s gave %d values for %d rows", u.Name, u.Version, got, n))
	}
	u.store(r, c)
}

// store puts the result into its register.
func (u *userCalls) store(r *registers, c *code) {
	switch u.Result {
	case TypeNumber:
		for i, x := range u.out.Numbers {
			r.number[c.dst][i] = finite(x)
		}
	case TypeBool:
		for i, x := range u.out.Numbers {
			v := no
			switch {
			case x != x:
				v = unknown
			case x != 0:
				v = yes
			}
			r.flag[c.dst][i] = v
		}
	case TypeText:
		for i, t := range u.out.Texts {
			if r.text[c.dst][i] = (text{}); t.OK && len(t.S) <= maxText {
				r.text[c.dst][i] = text{t.S, true}
			}
		}
	default:
		copy(r.time[c.dst], u.out.Times)
	}
}
