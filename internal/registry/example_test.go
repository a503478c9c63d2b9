package registry_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"millrace.dev/internal/registry"
)

// A model runs once somebody has approved it.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "models")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	noon := func() time.Time { return time.Date(2014, 7, 10, 12, 0, 0, 0, time.UTC) }
	r, err := registry.Open(dir, registry.Options{Now: noon})
	if err != nil {
		fmt.Println(err)
		return
	}

	v, err := r.Register(ctx, housePrices(), "train")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(v.Ref(), v.State, v.Aliases)
	fmt.Println("may run:", !errors.Is(v.CheckApproved(), registry.ErrNotApproved))

	v, err = r.Approve(ctx, "@candidate", "house-prices", registry.Decision{By: "Anna Ek", Reason: "RMSE below 200,000 on the test part"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(v.Ref(), v.State, v.Aliases)
	fmt.Println("may run:", !errors.Is(v.CheckApproved(), registry.ErrNotApproved))

	events, err := r.Log(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, e := range events {
		fmt.Println(e.Seq, e.Time.Format(time.DateTime), e.Actor, e.Action, e.Model, e.Version)
	}
	// Output:
	// house-prices@1 candidate [candidate]
	// may run: false
	// house-prices@1 approved [champion]
	// may run: true
	// 1 2014-07-10 12:00:00 train register house-prices 1
	// 2 2014-07-10 12:00:00 Anna Ek approve house-prices 1
}

// housePrices returns the bytes of a bundle.
func housePrices() []byte {
	data, err := registry.SmallBundle()
	if err != nil {
		log.Fatal(err)
	}
	return data
}
