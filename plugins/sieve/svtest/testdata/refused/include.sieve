require ["include", "variables"];
include;
include "../x";
include :personal :global "x";
return "x";
global "a b";
