require "fileinto";
fileinto "from good";
