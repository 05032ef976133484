package upstream

import (
	"context"
	"reflect"
	"slices"
	"testing"
	"time"

	lua "github.com/yuin/gopher-lua"
)

const gopherLua = "yuin/gopher-lua"

// A context stops the loop of the virtual machine, not a call of the library.
func TestLuaPatternOutlivesContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	done := make(chan error, 1)
	l := lua.NewState()
	l.SetContext(ctx)
	go func() { done <- l.DoString(`local s = ("a"):rep(500); s:find(".-.-b")`) }()
	t.Cleanup(l.Close)
	select {
	case <-done:
		reconsider(t, gopherLua, "string.find obeys the context, or is fast")
		return
	case <-time.After(quiet):
	}
	<-done // it does end
}

// What a script may put on the heap has no limit: one call takes 64 MiB, under a
// context and with the smallest of everything that has a limit.
func TestLuaNoHeapLimit(t *testing.T) {
	l := lua.NewState(lua.Options{CallStackSize: 16, RegistrySize: 1024, MinimizeStackMemory: true})
	defer l.Close()
	l.SetContext(t.Context())
	if err := l.DoString(`assert(#("x"):rep(64 * 1024 * 1024) == 64 * 1024 * 1024)`); err != nil {
		reconsider(t, gopherLua, "string.rep has a limit: "+err.Error())
	}
	known := []string{"CallStackSize", "RegistrySize", "RegistryMaxSize", "RegistryGrowStep", "SkipOpenLibs", "IncludeGoStackTrace", "MinimizeStackMemory"}
	typ := reflect.TypeFor[lua.Options]()
	for i := range typ.NumField() {
		if n := typ.Field(i).Name; !slices.Contains(known, n) {
			reconsider(t, gopherLua, "there is an option "+n)
		}
	}
}

// string.format hands its format to Go's fmt: one argument becomes many, which
// no bound on the arguments sees.
func TestLuaFormatIsGo(t *testing.T) {
	l := lua.NewState()
	defer l.Close()
	if err := l.DoString(`assert(#string.format("%[1]s%[1]s%[1]s", ("x"):rep(1000)) == 3000)`); err != nil {
		reconsider(t, gopherLua, "string.format takes the verbs of Lua only: "+err.Error())
	}
}
