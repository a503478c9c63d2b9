package server

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Router finds routes. It is filled before the server starts, by one goroutine, and not changed after that.
type Router struct {
	routes []Route
	mux    *http.ServeMux  // of patterns alone: of another method the answer is ours
	ways   map[string]*way // by pattern
}

// way is what the methods of a pattern lead to. As a handler it says to the probe that it was found.
type way struct {
	routes []*Route
	allow  string // the methods, for the answer to another one
}

func (w *way) ServeHTTP(found http.ResponseWriter, _ *http.Request) {
	if p, ok := found.(*probe); ok { // the mux is asked with nothing else
		p.way = w
	}
}

// NewRouter returns a router without routes.
func NewRouter() *Router { return &Router{mux: http.NewServeMux(), ways: map[string]*way{}} }

// Add adds routes. It fails for one that is not whole, or that another one is in conflict with.
func (r *Router) Add(routes ...Route) error {
	for i := range routes {
		if err := r.add(routes[i]); err != nil {
			return fmt.Errorf("server: route %s %s: %w", routes[i].Method, routes[i].Pattern, err)
		}
	}
	return nil
}

func (r *Router) add(route Route) error {
	switch {
	case !slices.Contains(methods(), route.Method):
		return errors.New("want a method of HTTP")
	case !strings.HasPrefix(route.Pattern, "/"):
		return errors.New("want a pattern that begins with /")
	case route.Handler == nil:
		return errors.New("without a handler")
	case route.Summary == "":
		return errors.New("without a summary, which the documentation needs")
	}
	w := r.ways[route.Pattern]
	if w == nil {
		w = &way{}
		if err := r.handle(route.Pattern, w); err != nil {
			return err
		}
		r.ways[route.Pattern] = w
	}
	if slices.ContainsFunc(w.routes, func(other *Route) bool { return other.Method == route.Method }) {
		return errors.New("is there already")
	}
	w.routes = append(w.routes, &route)
	w.allow = allowed(w.routes)
	r.routes = append(r.routes, route)
	return nil
}

// handle gives a pattern to the mux, which panics where it is wrong or in conflict with another one.
func (r *Router) handle(pattern string, w *way) (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("%v", reason)
		}
	}()
	r.mux.Handle(pattern, w)
	return nil
}

// Routes returns the routes in the order in which they were added.
func (r *Router) Routes() []Route { return slices.Clone(r.routes) }

// methods are those that a route can have. A request with any other is nobody's.
func methods() []string {
	return []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions}
}

// allowed returns the methods of routes as the header Allow has them.
func allowed(routes []*Route) string {
	var list []string
	for _, route := range routes {
		if list = append(list, route.Method); route.Method == http.MethodGet {
			list = append(list, http.MethodHead)
		}
	}
	slices.Sort(list)
	return strings.Join(slices.Compact(list), ", ")
}

// route returns the route of a method.
func (w *way) route(method string) *Route {
	for _, try := range []string{method, http.MethodGet} {
		for _, route := range w.routes {
			if route.Method == try {
				return route
			}
		}
		if method != http.MethodHead {
			break
		}
	}
	return nil
}
