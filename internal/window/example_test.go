package window_test

import (
	"fmt"
	"time"

	"millrace.dev/internal/window"
)

// How many payments a card made within the last hour, for how much, and how much more this one is than the last.
func Example() {
	w, err := window.Compile(window.Spec{
		Size: time.Hour,
		Args: []window.Kind{window.Numbers, window.Texts},
		Aggregates: []window.Aggregate{
			{Func: window.Count, Arg: window.NoArgument},
			{Func: window.Sum, Arg: 0},
			{Func: window.Difference, Arg: 0},
			{Func: window.Distinct, Arg: 1},
		},
		Source: "amount, shop",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	state, out := w.New(), make([]float64, 4)
	for _, p := range []struct {
		minute int64
		amount float64
		shop   string
	}{{0, 10, "bakery"}, {20, 12.5, "books"}, {30, 900, "jewels"}, {75, 11, "bakery"}} {
		at := p.minute * time.Minute.Microseconds()
		status := state.Observe(at, []window.Value{window.Number(p.amount), window.Text(p.shop)}, out)
		fmt.Println(status, out)
		if state, err = w.Decode(state.Append(nil)); err != nil { // as a store would have it
			fmt.Println(err)
			return
		}
	}
	// Output:
	// added [0 NaN NaN 0]
	// added [1 10 2.5 1]
	// added [2 22.5 887.5 2]
	// added [2 912.5 -889 2]
}
