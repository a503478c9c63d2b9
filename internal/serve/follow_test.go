package serve_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/serve"
)

// TestSwapUnderLoad promotes versions while requests come in: each answer has the bits of the version that it names, and none is missing.
func TestSwapUnderLoad(t *testing.T) {
	t.Parallel()
	const swaps = 30
	w := theWorld(t)
	f := newRegistry(w, 1, 1, 2, 3, 4)
	m := begin(t, f, serve.Options{Workers: 4, MaxRows: 16, Refresh: time.Millisecond, Queue: 1 << 20})
	var done atomic.Bool
	var all sync.WaitGroup
	answers := make([]map[int]int, 6)
	for g := range answers {
		answers[g] = map[int]int{}
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 2))
			for !done.Load() {
				v, err := m.Open(t.Context(), "", "")
				if err != nil {
					t.Error(err)
					return
				}
				from := r.IntN(len(w.records) - 40)
				to := from + 1 + r.IntN(40)
				rows, err := v.Predict(t.Context(), w.raw(from, to), serve.PredictOptions{})
				if err != nil {
					t.Error(err)
					return
				}
				if want := withoutExplanations(w.want[f.path(v.Number())][from:to]); !reflect.DeepEqual(want, rows) {
					t.Errorf("%s, records %d to %d (-want +got):\n%s", v.Ref(), from, to, cmp.Diff(want, rows))
					return
				}
				answers[g][v.Number()]++
			}
		})
	}
	promoted := 1
	for n := uint64(0); n < swaps && !t.Failed(); {
		if s := m.Stats()[0]; s.Swaps > n {
			n = s.Swaps
		}
		if v := open(t, m, ""); v.Number() == promoted { // it has taken over
			promoted = promoted%4 + 1
			f.change(func() { f.state.Promoted = promoted })
		}
	}
	done.Store(true)
	all.Wait()
	var versions, requests int
	var total uint64
	for v := range 4 {
		n := 0
		for g := range answers {
			n += answers[g][v+1]
		}
		if n > 0 {
			versions++
		}
		requests += n
	}
	for _, v := range m.Stats()[0].Versions {
		total += v.Requests
	}
	if versions < 2 || total != uint64(requests) {
		t.Errorf("%d versions have answered, %d requests of %d that are counted", versions, requests, total)
	}
}

// TestPromotion goes over to what is promoted within the time that is stated, and a request keeps the version that it began with.
func TestPromotion(t *testing.T) {
	t.Parallel()
	w := theWorld(t)
	synctest.Test(t, func(t *testing.T) {
		f := newRegistry(w, 1, 1, 2)
		m := begin(t, f, serve.Options{Refresh: time.Second})
		before := open(t, m, "")
		f.change(func() { f.state.Promoted = 2 })
		time.Sleep(time.Second)
		synctest.Wait()
		if v := open(t, m, ""); v.Ref() != "house-prices@2" || v.Digest() != "sha256:2" {
			t.Errorf("%s, %s is served a second later", v.Ref(), v.Digest())
		}
		if v := open(t, m, serve.Latest); v.Number() != 2 {
			t.Errorf("%s is the latest", v.Ref())
		}
		rows, err := before.Predict(t.Context(), w.raw(0, 3), serve.PredictOptions{})
		if diff := cmp.Diff(withoutExplanations(w.want[1][:3]), rows); err != nil || diff != "" {
			t.Errorf("%v, (-want +got):\n%s", err, diff)
		}
		if v := open(t, m, "1"); v != before || f.loads[1] != 1 {
			t.Error("the version that was served was loaded again")
		}
	})
}

// TestRegistryDown goes on with the present model where the registry does not answer, or says nonsense of the next one.
func TestRegistryDown(t *testing.T) {
	t.Parallel()
	w := theWorld(t)
	synctest.Test(t, func(t *testing.T) {
		f := newRegistry(w, 1, 1, 2)
		m := begin(t, f, serve.Options{Refresh: time.Second})
		serves := func(number int) {
			t.Helper()
			time.Sleep(time.Second)
			synctest.Wait()
			if v := open(t, m, ""); v.Number() != number || m.Ready() != nil {
				t.Errorf("%s is served, ready: %v; want version %d", v.Ref(), m.Ready(), number)
			}
		}
		f.change(func() { f.down, f.state.Promoted = true, 2 })
		serves(1)
		if s := m.Stats()[0]; !s.Stale || s.Stales != 1 || !s.Ready {
			t.Errorf("%+v, want one that is stale", s)
		}
		broken := errors.New("the golden rows are not reproduced")
		f.change(func() { f.down, f.bad[2] = false, broken })
		serves(1)
		s := m.Stats()[0]
		if s.Stale || s.Failed != 1 || s.Swaps != 0 {
			t.Errorf("%+v, want one that has failed", s)
		}
		time.Sleep(time.Hour)
		f.change(func() {
			if n := f.loads[2]; n < 30 || n > 90 {
				t.Errorf("a version that cannot be loaded was tried %d times in an hour, want about once a minute", n)
			}
			f.bad[2] = nil
		})
		time.Sleep(time.Minute)
		serves(2)
		if s := m.Stats()[0]; s.Failed != 0 || s.Swaps != 1 {
			t.Errorf("%+v, want none that has failed", s)
		}
	})
}

// TestWithdrawn does not serve what is not approved any more.
func TestWithdrawn(t *testing.T) {
	t.Parallel()
	w := theWorld(t)
	synctest.Test(t, func(t *testing.T) {
		f := newRegistry(w, 2, 1, 2)
		m := begin(t, f, serve.Options{Refresh: time.Second})
		open(t, m, "1")
		f.change(func() { f.state = serve.State{Promoted: 2, Approved: []int{2}} })
		time.Sleep(time.Second)
		synctest.Wait()
		if _, err := m.Open(t.Context(), "", "1"); !errors.Is(err, serve.ErrUnknownVersion) {
			t.Errorf("a version that was retired: %v", err)
		}
		f.change(func() { f.state = serve.State{} })
		time.Sleep(time.Second)
		synctest.Wait()
		if _, err := m.Open(t.Context(), "", ""); !errors.Is(err, serve.ErrNotReady) {
			t.Errorf("a model without a version: %v", err)
		}
		if err := m.Ready(); !errors.Is(err, serve.ErrNotReady) {
			t.Errorf("ready: %v", err)
		}
		f.change(func() { f.state = serve.State{Promoted: 3, Approved: []int{3}} })
		time.Sleep(time.Second)
		synctest.Wait()
		if v := open(t, m, ""); v.Number() != 3 || m.Ready() != nil {
			t.Errorf("%s, ready: %v", v.Ref(), m.Ready())
		}
	})
}

// TestVersions loads approved versions when they are asked for, and keeps as many as is stated.
func TestVersions(t *testing.T) {
	t.Parallel()
	w := theWorld(t)
	synctest.Test(t, func(t *testing.T) {
		f := newRegistry(w, 1, 1, 2, 3, 4)
		m := begin(t, f, serve.Options{Keep: 2})
		for _, ask := range []struct {
			version string
			loads   int
			err     error
		}{
			{"1", 1, nil},
			{"2", 2, nil},
			{"3", 3, nil},
			{"2", 3, nil},
			{"4", 4, nil}, // 3 goes
			{"2", 4, nil},
			{"3", 5, nil},
			{"5", 5, serve.ErrUnknownVersion},
			{"0", 5, serve.ErrUnknownVersion},
			{"-1", 5, serve.ErrUnknownVersion},
			{"01", 5, serve.ErrUnknownVersion},
			{"champion", 5, serve.ErrUnknownVersion},
		} {
			v, err := m.Open(t.Context(), "house-prices", ask.version)
			loads := 0
			for _, n := range f.loads {
				loads += n
			}
			if !errors.Is(err, ask.err) || err == nil && v.Version() != ask.version || loads != ask.loads {
				t.Errorf("version %s: %v, %d loads, want %v and %d", ask.version, err, loads, ask.err, ask.loads)
			}
		}
		want := []serve.IndexEntry{
			{Name: "house-prices", Version: "1", Promoted: true, Loaded: true, Ready: true},
			{Name: "house-prices", Version: "2", Loaded: true, Ready: true},
			{Name: "house-prices", Version: "3", Loaded: true, Ready: true},
			{Name: "house-prices", Version: "4", Ready: true},
		}
		if diff := cmp.Diff(want, m.Index()); diff != "" {
			t.Errorf("index (-want +got):\n%s", diff)
		}
		f.change(func() { f.bad[4] = errors.New("the golden rows are not reproduced") })
		for range 3 { // it is not tried again at once
			if _, err := m.Open(t.Context(), "house-prices", "4"); !errors.Is(err, serve.ErrNotReady) {
				t.Errorf("a version that cannot be loaded: %v", err)
			}
		}
		if f.loads[4] != 2 {
			t.Errorf("it was tried %d times", f.loads[4]-1)
		}
		if err := m.ModelReady("house-prices", "4"); !errors.Is(err, serve.ErrNotReady) {
			t.Errorf("it is ready: %v", err)
		}
		if err := m.ModelReady("house-prices", "3"); err != nil {
			t.Errorf("another one is not: %v", err)
		}
	})
}

// TestOneLoad loads a version once for all who ask at the same time.
func TestOneLoad(t *testing.T) {
	t.Parallel()
	w := theWorld(t)
	f := newRegistry(w, 1, 1, 2)
	m := begin(t, f, serve.Options{})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, err := m.Open(t.Context(), "", "2"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if f.loads[2] != 1 {
		t.Errorf("it was loaded %d times", f.loads[2])
	}
}

// TestUnload has a model not be served until it is loaded.
func TestUnload(t *testing.T) {
	t.Parallel()
	w := theWorld(t)
	synctest.Test(t, func(t *testing.T) {
		f := newRegistry(w, 1, 1, 2)
		m := begin(t, f, serve.Options{Refresh: time.Second})
		v := open(t, m, "")
		if err := m.Unload("house-prices"); err != nil {
			t.Fatal(err)
		}
		f.change(func() { f.state.Promoted = 2 })
		time.Sleep(time.Minute)
		synctest.Wait()
		for _, version := range []string{"", "1", "2", serve.Latest} {
			if _, err := m.Open(t.Context(), "", version); !errors.Is(err, serve.ErrNotReady) {
				t.Errorf("version %q: %v", version, err)
			}
		}
		if err := m.ModelReady("house-prices", ""); !errors.Is(err, serve.ErrNotReady) {
			t.Errorf("the model is ready: %v", err)
		}
		if err := m.Ready(); err != nil {
			t.Errorf("the server is not, for a model that is not wanted: %v", err)
		}
		for _, i := range m.Index() {
			if i.Ready || i.Reason == "" {
				t.Errorf("%+v is ready", i)
			}
		}
		if rows, err := v.Predict(t.Context(), w.raw(0, 1), serve.PredictOptions{}); err != nil || len(rows) != 1 {
			t.Errorf("a request that was under way: %v", err)
		}
		if err := m.Load(t.Context(), "house-prices"); err != nil {
			t.Fatal(err)
		}
		if v := open(t, m, ""); v.Number() != 2 {
			t.Errorf("%s is served", v.Ref())
		}
		if err := m.Load(t.Context(), "nothing"); !errors.Is(err, serve.ErrUnknownModel) {
			t.Errorf("load another: %v", err)
		}
		if err := m.Unload("nothing"); !errors.Is(err, serve.ErrUnknownModel) {
			t.Errorf("unload another: %v", err)
		}
	})
}

// TestStart does not begin without a version that is promoted and can be loaded.
func TestStart(t *testing.T) {
	t.Parallel()
	w := theWorld(t)
	broken := errors.New("the golden rows are not reproduced")
	for name, test := range map[string]struct {
		change func(*fakeRegistry)
		want   error
	}{
		"nothing is promoted":   {func(f *fakeRegistry) { f.state = serve.State{Approved: []int{1}} }, serve.ErrNotReady},
		"it cannot be loaded":   {func(f *fakeRegistry) { f.bad[1] = broken }, broken},
		"the registry is down":  {func(f *fakeRegistry) { f.down = true }, errDown},
		"there is nothing else": {func(*fakeRegistry) {}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newRegistry(w, 1, 1)
			test.change(f)
			if err := create(t, f, serve.Options{}).Start(t.Context()); !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
		})
	}
}

// TestModels finds models by their names, the first without one.
func TestModels(t *testing.T) {
	t.Parallel()
	w := theWorld(t)
	o := serve.Options{}
	for i := range 3 {
		o.Models = append(o.Models, serve.ModelOptions{Name: fmt.Sprint("m", i), Source: newRegistry(w, 1+i%2, 1, 2)})
	}
	m, err := serve.New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"": "m0@1", "m1": "m1@2", "m2": "m2@1"} {
		if v, err := m.Open(t.Context(), name, ""); err != nil || v.Ref() != want {
			t.Errorf("model %q: %v, want %s", name, err, want)
		}
	}
	if _, err := m.Open(t.Context(), "m3", ""); !errors.Is(err, serve.ErrUnknownModel) {
		t.Errorf("another one: %v", err)
	}
	if diff := cmp.Diff([]string{"m0", "m1", "m2"}, m.Names()); diff != "" {
		t.Error(diff)
	}
	for _, o := range []serve.Options{{}, {Models: append(o.Models, o.Models[0])}, {Models: o.Models, Workers: -1}} {
		if m, err := serve.New(o); err == nil {
			m.Close()
			t.Errorf("%+v is accepted", o)
		}
	}
}

// TestBeforeStart asks for models that are still being read: they are not ready, whatever the version.
func TestBeforeStart(t *testing.T) {
	t.Parallel()
	m := create(t, newRegistry(theWorld(t), 1, 1, 2), serve.Options{})
	for _, version := range []string{"", serve.Latest, "1", "99"} {
		if _, err := m.Open(t.Context(), "", version); !errors.Is(err, serve.ErrNotReady) || !strings.Contains(err.Error(), "being read") {
			t.Errorf("version %q: %v", version, err)
		}
	}
	if err := m.Ready(); !errors.Is(err, serve.ErrNotReady) {
		t.Error(err)
	}
}
