package external

import (
	"testing"

	"mtad/sdk/mtadpb"
)

// TestAddressesIn takes the empty address for a sender only: a message
// redirected to nobody would be kept by nobody.
func TestAddressesIn(t *testing.T) {
	for _, s := range []string{"", "a@b@c\r\n", "no address"} {
		for name, m := range map[string]*mtadpb.Modification{
			"redirect":    {Kind: &mtadpb.Modification_Redirect{Redirect: s}},
			"add-rcpt":    {Kind: &mtadpb.Modification_AddRcpt{AddRcpt: s}},
			"remove-rcpt": {Kind: &mtadpb.Modification_RemoveRcpt{RemoveRcpt: s}},
		} {
			if mod, err := modIn(m); err == nil {
				t.Errorf("%s %q became %v", name, s, mod)
			}
		}
	}
	mod, err := modIn(&mtadpb.Modification{Kind: &mtadpb.Modification_SetSender{}})
	if err != nil || mod.String() != "set-sender <>" {
		t.Errorf("%v, %v", mod, err)
	}
}
