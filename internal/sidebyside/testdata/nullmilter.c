/* A milter that is told of everything and says continue, to a command after a while:
   nullmilter SOCKET MICROSECONDS */
#include <libmilter/mfapi.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

static useconds_t pause_us;

static sfsistat after_a_while(void)
{
	if (pause_us > 0)
		usleep(pause_us);
	return SMFIS_CONTINUE;
}

static sfsistat on_connect(SMFICTX *ctx, char *host, _SOCK_ADDR *addr) { return SMFIS_CONTINUE; }
static sfsistat on_text(SMFICTX *ctx, char *text) { return SMFIS_CONTINUE; }
static sfsistat on_args(SMFICTX *ctx, char **args) { return after_a_while(); }
static sfsistat on_field(SMFICTX *ctx, char *name, char *value) { return SMFIS_CONTINUE; }
static sfsistat on_body(SMFICTX *ctx, unsigned char *piece, size_t n) { return SMFIS_CONTINUE; }
static sfsistat on_event(SMFICTX *ctx) { return SMFIS_CONTINUE; }
static sfsistat on_command(SMFICTX *ctx) { return after_a_while(); }

int main(int argc, char **argv)
{
	struct smfiDesc milter = {
		.xxfi_name = "null", .xxfi_version = SMFI_VERSION,
		.xxfi_connect = on_connect, .xxfi_helo = on_text, .xxfi_envfrom = on_args, .xxfi_envrcpt = on_args,
		.xxfi_data = on_command, .xxfi_header = on_field, .xxfi_eoh = on_event, .xxfi_body = on_body, .xxfi_eom = on_command,
	};
	if (argc != 3)
		return 2;
	pause_us = atoi(argv[2]);
	if (smfi_setconn(argv[1]) != MI_SUCCESS || smfi_register(milter) != MI_SUCCESS)
		return 2;
	return smfi_main();
}
