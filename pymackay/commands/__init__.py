"""Parts of the command line: tables from files, the check of the installation, the article."""
