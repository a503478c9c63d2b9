package model_test

import (
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"millrace.dev/model"
)

// trained stands for a training, which makes the schema, the plan and the forest of a bundle.
func trained() *model.Bundle {
	b, err := model.SmallBundle()
	if err != nil {
		log.Fatal(err)
	}
	return b
}

func ExampleBundle_Encode() {
	first, digest, err := trained().Encode()
	if err != nil {
		fmt.Println(err)
		return
	}
	_, again, err := trained().Encode()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("the same training, the same digest:", digest == again)

	first[len(first)/2]++
	_, err = model.Decode(first)
	fmt.Println("damage is found:", errors.Is(err, model.ErrCorrupt))
	// Output:
	// the same training, the same digest: true
	// damage is found: true
}

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "bundle")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "houses"+model.Extension)
	data, _, err := trained().Encode()
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := model.WriteFile(path, data); err != nil {
		fmt.Println(err)
		return
	}

	l, err := model.Open(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	m := l.Bundle.Manifest
	fmt.Printf("%s predicts %s in %s, from %d rows of %s\n", m.Name, m.Label, m.LabelUnit, l.Bundle.Lineage.Rows.Train, l.Bundle.Lineage.DataName)
	for _, in := range l.Bundle.Inputs {
		fmt.Println("input", in.Name, in.Type, in.Levels)
	}
	// Output:
	// house-prices predicts price in $, from 40 rows of houses.csv
	// input sqft numeric 0
	// input city enum 3
}

func ExampleBundle_CheckGolden() {
	b := trained()
	got := b.Golden[0] // in earnest, what the data path makes of b.Golden[0].Value
	fmt.Println(b.CheckGolden(0, got))

	got.Features = []model.Value{got.Features[0], {Kind: model.Level, Level: "Kirkland"}}
	fmt.Println(b.CheckGolden(0, got))
	// Output:
	// <nil>
	// model: golden row 0: input "city": want level "Seattle", got level "Kirkland"
}
