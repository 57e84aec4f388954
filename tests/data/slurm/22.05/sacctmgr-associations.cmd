sacctmgr -n -P show associations format=Cluster,Account,User,MaxJobs,MaxSubmitJobs,QOS
