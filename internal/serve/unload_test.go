package serve_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"millrace.dev/internal/serve"
)

// slowRegistry calls loading while it loads a version.
type slowRegistry struct {
	*fakeRegistry
	loading func(number int)
}

func (r *slowRegistry) Load(ctx context.Context, number int) (*serve.Loaded, error) {
	if r.loading != nil {
		r.loading(number)
	}
	return r.fakeRegistry.Load(ctx, number)
}

// TestUnloadWhileLoading keeps nothing of a version in memory whose model is unloaded while it is loaded, and says of one that is being
// loaded again that it is, and not that nothing is promoted.
func TestUnloadWhileLoading(t *testing.T) {
	t.Parallel()
	w := theWorld(t)
	synctest.Test(t, func(t *testing.T) {
		r := &slowRegistry{fakeRegistry: newRegistry(w, 1, 1, 2)}
		m, err := serve.New(serve.Options{Models: []serve.ModelOptions{{Name: "house-prices", Source: r}}, Refresh: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if err := m.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.loading = func(int) {
			if err := m.Unload("house-prices"); err != nil {
				t.Error(err)
			}
		}
		r.change(func() { r.state.Promoted = 2 })
		time.Sleep(2 * time.Second)
		synctest.Wait()
		for _, v := range m.Stats()[0].Versions {
			if v.Loaded {
				t.Errorf("version %s of a model that is unloaded is in memory", v.Version)
			}
		}
		r.loading = func(int) {
			if _, err := m.Open(t.Context(), "", ""); err == nil || !strings.Contains(err.Error(), "house-prices@2 is not loaded yet") {
				t.Errorf("while it is loaded: %v", err)
			}
		}
		if err := m.Load(t.Context(), "house-prices"); err != nil {
			t.Fatal(err)
		}
	})
}

// TestLoadErrors tells the log why a version cannot be loaded, and clients that it cannot be.
func TestLoadErrors(t *testing.T) {
	t.Parallel()
	w := theWorld(t)
	var log strings.Builder
	synctest.Test(t, func(t *testing.T) {
		const secret = "s3://inner-bucket/models/events/7.json"
		f := newRegistry(w, 1, 1, 2)
		f.bad[2] = errors.New(secret + " is damaged")
		m := begin(t, f, serve.Options{Refresh: time.Hour, Log: slog.New(slog.NewTextHandler(&log, nil))})
		_, err := m.Open(t.Context(), "", "2")
		load, ok := errors.AsType[*serve.LoadError](err)
		if !ok || !errors.Is(err, serve.ErrNotReady) || strings.Contains(load.Public(), "inner") || !strings.Contains(load.Public(), "house-prices@2 cannot be loaded") {
			t.Errorf("version 2: %v", err)
		}
		for _, i := range m.Index() {
			if strings.Contains(i.Reason, "inner") || i.Version == "2" && i.Reason == "" {
				t.Errorf("%+v tells of the registry, or nothing", i)
			}
		}
		f.change(func() { f.down = true })
		err = m.Load(t.Context(), "house-prices")
		if load, ok = errors.AsType[*serve.LoadError](err); !ok || strings.Contains(load.Public(), errDown.Error()) {
			t.Errorf("load: %v", err)
		}
		for _, want := range []string{secret, errDown.Error()} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("%s is not in the log: %s", want, &log)
			}
		}
	})
}
