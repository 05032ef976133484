/* A milter that is told of everything and says continue: nullmilter SOCKET */
#include <libmilter/mfapi.h>
#include <stddef.h>

static sfsistat on_connect(SMFICTX *ctx, char *host, _SOCK_ADDR *addr) { return SMFIS_CONTINUE; }
static sfsistat on_text(SMFICTX *ctx, char *text) { return SMFIS_CONTINUE; }
static sfsistat on_args(SMFICTX *ctx, char **args) { return SMFIS_CONTINUE; }
static sfsistat on_field(SMFICTX *ctx, char *name, char *value) { return SMFIS_CONTINUE; }
static sfsistat on_body(SMFICTX *ctx, unsigned char *piece, size_t n) { return SMFIS_CONTINUE; }
static sfsistat on_event(SMFICTX *ctx) { return SMFIS_CONTINUE; }

int main(int argc, char **argv)
{
	struct smfiDesc milter = {
		.xxfi_name = "null", .xxfi_version = SMFI_VERSION,
		.xxfi_connect = on_connect, .xxfi_helo = on_text, .xxfi_envfrom = on_args, .xxfi_envrcpt = on_args,
		.xxfi_data = on_event, .xxfi_header = on_field, .xxfi_eoh = on_event, .xxfi_body = on_body, .xxfi_eom = on_event,
	};
	if (argc != 2 || smfi_setconn(argv[1]) != MI_SUCCESS || smfi_register(milter) != MI_SUCCESS)
		return 2;
	return smfi_main();
}
